package trackers

// SetSpillBytes makes statements spill to files earlier, and gives the way back.
func SetSpillBytes(n int) (restore func()) {
	before := spillBytes
	spillBytes = n
	return func() { spillBytes = before }
}
