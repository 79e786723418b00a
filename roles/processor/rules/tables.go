package rules

import (
	"bytes"
	_ "embed"
	"errors"
	"io"
	"sync"

	"go.yaml.in/yaml/v3"

	"mayday/app/fault"
)

//go:embed tables.yaml
var builtinTables []byte

// Tables is what the rules know of particular products; tables.yaml says what
// each key means.
type Tables struct {
	BetaProducts        []BetaProduct     `yaml:"beta_products"`
	VersionRewrites     []VersionRewrite  `yaml:"version_rewrites"`
	ChannelSuffixes     map[string]string `yaml:"channel_suffixes"`
	UnsafeReasons       []string          `yaml:"unsafe_reasons"`
	AddonNames          map[string]string `yaml:"addon_names"`
	DefaultDistribution string            `yaml:"default_distribution"`
	ProcessTypes        map[string]string `yaml:"process_types"`
	AndroidABIs         map[string]string `yaml:"android_abis"`
	InternalHosts       []string          `yaml:"internal_hosts"`
	WindowsVersions     map[string]string `yaml:"windows_versions"`
	WindowsBuilds       []WindowsBuild    `yaml:"windows_builds"`
}

// BetaProduct is a product whose betas report the final version.
type BetaProduct struct {
	Product  string   `yaml:"product"`
	Channels []string `yaml:"channels"`
	Renamed  struct {
		Channel string `yaml:"channel"`
		After   string `yaml:"after"`
		To      string `yaml:"to"`
	} `yaml:"renamed"`
}

// VersionRewrite is a version that is replaced by another.
type VersionRewrite struct {
	Product string `yaml:"product"`
	Prefix  string `yaml:"prefix"`
	Version string `yaml:"version"`
}

// WindowsBuild is a build from which on a Windows version has another name.
type WindowsBuild struct {
	Version string `yaml:"version"`
	Build   int    `yaml:"build"`
	Name    string `yaml:"name"`
}

var defaultTables = sync.OnceValue(func() *Tables {
	t, err := LoadTables()
	if err != nil {
		panic("built-in tables: " + err.Error()) // a test loads them
	}
	return t
})

// DefaultTables are the built-in tables. They are shared: do not change them.
func DefaultTables() *Tables { return defaultTables() }

// LoadTables reads the built-in tables and lays files over them: a key that a
// file gives replaces the built-in one.
func LoadTables(files ...[]byte) (*Tables, error) {
	t := &Tables{}
	for i, file := range append([][]byte{builtinTables}, files...) {
		// Decoding into a filled map would merge; a given key replaces.
		var over Tables
		d := yaml.NewDecoder(bytes.NewReader(file))
		d.KnownFields(true)
		if err := d.Decode(&over); err != nil && !errors.Is(err, io.EOF) {
			return nil, fault.As(fault.Invalid, err, "rule tables, file %d", i)
		}
		t.replace(&over)
	}
	return t, nil
}

func (t *Tables) replace(o *Tables) {
	pick(&t.BetaProducts, o.BetaProducts, o.BetaProducts != nil)
	pick(&t.VersionRewrites, o.VersionRewrites, o.VersionRewrites != nil)
	pick(&t.ChannelSuffixes, o.ChannelSuffixes, o.ChannelSuffixes != nil)
	pick(&t.UnsafeReasons, o.UnsafeReasons, o.UnsafeReasons != nil)
	pick(&t.AddonNames, o.AddonNames, o.AddonNames != nil)
	pick(&t.DefaultDistribution, o.DefaultDistribution, o.DefaultDistribution != "")
	pick(&t.ProcessTypes, o.ProcessTypes, o.ProcessTypes != nil)
	pick(&t.AndroidABIs, o.AndroidABIs, o.AndroidABIs != nil)
	pick(&t.InternalHosts, o.InternalHosts, o.InternalHosts != nil)
	pick(&t.WindowsVersions, o.WindowsVersions, o.WindowsVersions != nil)
	pick(&t.WindowsBuilds, o.WindowsBuilds, o.WindowsBuilds != nil)
}

func pick[T any](to *T, from T, given bool) {
	if given {
		*to = from
	}
}

// TablesFile is the text of the built-in tables.
func TablesFile() string { return string(builtinTables) }
