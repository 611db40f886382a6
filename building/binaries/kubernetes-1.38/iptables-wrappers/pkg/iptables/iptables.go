// Package iptables stands in for the one of sigs.k8s.io/iptables-wrappers that the kubelet uses: it
// finds no iptables, as on a node that has none. The kubelet then says so and goes on.
package iptables

import (
	"context"
	"time"
)

type (
	// Chain names a chain of rules.
	Chain string
	// Table names a table of chains.
	Table string
	// RulePosition says at which end of a chain a rule is put.
	RulePosition string
	// Mode says which of several iptables is meant.
	Mode string
	// Protocol is IPv4 or IPv6.
	Protocol string
)

const (
	TableFilter Table = "filter"
	TableNAT    Table = "nat"
	TableMangle Table = "mangle"

	ChainInput  Chain = "INPUT"
	ChainOutput Chain = "OUTPUT"

	Append  RulePosition = "-A"
	Prepend RulePosition = "-I"

	UseInstalledMode Mode = ""
)

// Interface is what the kubelet would do with an iptables.
type Interface interface {
	EnsureChain(context.Context, Table, Chain) (bool, error)
	EnsureRule(context.Context, RulePosition, Table, Chain, ...string) (bool, error)
	IsIPv6() bool
	Monitor(context.Context, Chain, []Table, func(), time.Duration)
	Protocol() Protocol
}

// NewBestEffort finds none.
func NewBestEffort(context.Context, Mode) map[Protocol]Interface {
	return nil
}
