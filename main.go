// Command mayday is self-hosted crash reporting for native applications: it
// takes crash reports in, walks their stacks, groups them under signatures and
// shows them. All of its work is in the packages below; see ARCHITECTURE.md.
package main

import (
	"os"

	"mayday/app"
)

func main() {
	os.Exit(app.Main(os.Args, os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
