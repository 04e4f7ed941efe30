package dbtest

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
)

// serverVariable names a running server to test on.
const serverVariable = "GORMSYNC_TEST_DATABASE_URL"

// shared is the cluster that this process started for its tests; nil when it needed none. sharedServer writes it,
// once.
var shared *Cluster

// sharedServer is the URL of the server that all tests of this process use. The first call starts it.
var sharedServer = sync.OnceValues(func() (string, error) {
	if server := os.Getenv(serverVariable); server != "" {
		return server, checkServerURL(server)
	}
	cluster, err := StartCluster(ClusterOptions{})
	if errors.Is(err, errNoServer) {
		return "", fmt.Errorf("%w, or set %s to the postgres:// URL of a server", err, serverVariable)
	}
	if err != nil {
		return "", err
	}
	shared = cluster
	return cluster.URL(), nil
})

// stopShared removes the cluster that this process started, if it started one.
func stopShared() error {
	if shared == nil {
		return nil
	}
	return shared.Remove()
}

func checkServerURL(server string) error {
	u, err := url.Parse(server)
	if err != nil {
		return fmt.Errorf("%s is no URL: %w", serverVariable, err)
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return fmt.Errorf("%s must begin with postgres://, it begins with %q", serverVariable, u.Scheme+":")
	}
	return nil
}
