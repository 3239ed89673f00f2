package fleet

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cluster is some nats-servers, each two of which are joined by a route that can be cut. The nodes are called node-0 and so
// on. One goroutine at a time may use it.
type Cluster struct {
	Nodes []*NATS

	links []*link // between each two nodes
}

// NodeName is what the i-th node is called.
func NodeName(i int) string { return "node-" + strconv.Itoa(i) }

// StartCluster starts n nodes on free ports and returns when they take connections. It may be a while before they have found
// each other.
func StartCluster(ctx context.Context, cfg NATSConfig, n int) (*Cluster, error) {
	c := &Cluster{}
	err := c.build(cfg, n)
	for i := 0; err == nil && i < n; i++ {
		err = c.Nodes[i].Start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// build prepares nodes and links. Only links lead from one node to another: no server tells another where the third one
// listens, but names a port at which nobody does.
func (c *Cluster) build(cfg NATSConfig, n int) error {
	const nowhere = "127.0.0.1:1"
	passwords := cfg.passwords()
	ports := make([]int, 2*n) // for clients, and for routes
	for i := range ports {
		var err error
		if ports[i], err = freePort(); err != nil {
			return err
		}
	}
	var addresses []string
	for i := range n {
		own := cfg
		own.Dir = filepath.Join(cfg.Dir, NodeName(i))
		routes, err := c.link(i, ports[n:])
		if err != nil {
			return err
		}
		node := &NATS{cfg: own, port: ports[i], passwords: passwords, args: []string{
			"-n", NodeName(i), "--cluster_name", "fleet", "--cluster_advertise", nowhere,
			"--cluster", "nats://127.0.0.1:" + strconv.Itoa(ports[n+i]), "--routes", routes,
		}}
		c.Nodes, addresses = append(c.Nodes, node), append(addresses, node.URL())
	}
	for _, node := range c.Nodes {
		node.addresses = strings.Join(addresses, ",")
	}
	return nil
}

// link leads from the i-th node to all others. A node that names fewer than there are would take two for a whole cluster.
func (c *Cluster) link(i int, ports []int) (routes string, err error) {
	var urls []string
	for j, port := range ports {
		if i == j {
			continue
		}
		l, err := newLink(i, j, port)
		if err != nil {
			return "", err
		}
		c.links = append(c.links, l)
		urls = append(urls, l.url())
	}
	return strings.Join(urls, ","), nil
}

// Close kills the nodes and ends the links.
func (c *Cluster) Close() error {
	var errs []error
	for _, n := range c.Nodes {
		if n.Process != nil {
			errs = append(errs, n.Kill())
		}
	}
	for _, l := range c.links {
		errs = append(errs, l.close())
	}
	return errors.Join(errs...)
}

// Cut breaks the routes of these nodes to all others; none can be made.
func (c *Cluster) Cut(nodes ...int) { c.set(linkCut, nodes) }

// Stall lets nothing pass on the routes of these nodes, which stand. What is sent arrives when Heal comes.
func (c *Cluster) Stall(nodes ...int) { c.set(linkStalled, nodes) }

// Heal ends every Cut and Stall.
func (c *Cluster) Heal() {
	for _, l := range c.links {
		l.set(linkOpen)
	}
}

func (c *Cluster) set(state linkState, nodes []int) {
	for _, l := range c.links {
		if slices.Contains(nodes, l.from) || slices.Contains(nodes, l.to) {
			l.set(state)
		}
	}
}

// setUpCluster sets up again and again until the nodes have found each other.
func (f *Fleet) setUpCluster(ctx context.Context, args []string) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := succeed(f.Freshet(ctx, args...))
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("set up a cluster: %w: %w", ctx.Err(), err)
		}
	}
}
