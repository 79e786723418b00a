package command

import (
	"runtime/debug"
	"strings"
)

// buildVersion is stamped by the linker: -X mayday/app/command.buildVersion=1.2.3.
var buildVersion string

// Info is what /__version__ and `mayday version` show; the keys are
// those of Mozilla's services.
type Info struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Source  string `json:"source"`
	Build   string `json:"build"`
}

// Version tells what was built, from the linker and the build information.
func Version() Info {
	v := Info{Version: buildVersion}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Source, v.Build = info.Main.Path, info.GoVersion
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "GOOS", "GOARCH":
			v.Build += " " + s.Value
		}
	}
	if v.Version == "" {
		v.Version = strings.Trim(info.Main.Version, "()")
	}
	return v
}
