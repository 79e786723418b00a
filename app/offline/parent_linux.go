package offline

import (
	"os/exec"
	"syscall"
)

// endWithParent has a process end when this one does, however that is.
func endWithParent(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
