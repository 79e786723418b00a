package fetch

import (
	"context"
	"encoding/hex"
	"io"
	"strings"
	"sync"
	"time"

	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/cab"
)

// twoTierFile lies at the root of a store whose folders are divided by the
// first two letters of the names in them: nt/ntdll.pdb/…
const twoTierFile = "index2.txt"

// microsoft is a Microsoft symbol server: NAME/ID/NAME, or NAME/ID/NAM_ as a
// cabinet that holds the file. It has raw files alone.
type microsoft struct {
	*server
	tempDir string
	flat    bool // never with two tiers

	mu    sync.Mutex
	tiers int // 1 or 2 once it is known; guarded by mu
	asked time.Time
}

func (m *microsoft) text(_ context.Context, id symbols.ModuleID) (io.ReadCloser, error) {
	return nil, fault.New(fault.NotFound, "%s has no text of %s", m.host, id.DebugFile)
}

func (m *microsoft) file(ctx context.Context, id symbols.ModuleID, kind FileKind) (io.ReadCloser, error) {
	name, keys := rawKeys(id, kind)
	if len(keys) == 0 {
		return noFile(id)
	}
	tier := ""
	if two, err := m.twoTiers(ctx); err != nil {
		return nil, err
	} else if two {
		tier = name[:min(2, len(name))] + "/"
	}
	for _, key := range keys {
		dir := tier + name + "/" + key + "/"
		for _, file := range []string{name, name[:len(name)-1] + "_"} {
			r, err := m.get(ctx, dir+file)
			switch {
			case fault.Is(err, fault.NotFound):
			case err != nil:
				return nil, err
			case file != name:
				return fromCabinet(r, name, m.tempDir)
			default:
				return r, nil
			}
		}
	}
	return noFile(id)
}

// twoTiers finds out, and asks again after a while, how the store is divided.
func (m *microsoft) twoTiers(ctx context.Context) (bool, error) {
	if m.flat {
		return false, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tiers == 0 || m.web.now().Sub(m.asked) > missFor {
		r, err := m.get(ctx, twoTierFile)
		switch {
		case err == nil:
			r.Close()
			m.tiers = 2
		case fault.Is(err, fault.NotFound):
			m.tiers = 1
		default:
			return false, err
		}
		m.asked = m.web.now()
	}
	return m.tiers == 2, nil
}

// member is a file of a cabinet over the temporary file it is read from.
type member struct {
	io.Reader
	temporary
}

// Read implements io.Reader: that of the member, not of the file.
func (m member) Read(p []byte) (int, error) { return m.Reader.Read(p) }

// fromCabinet opens the file of a name in a cabinet, or the only one.
func fromCabinet(r io.ReadCloser, name, dir string) (io.ReadCloser, error) {
	f, err := spool(r, dir)
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, fault.As(fault.Unavailable, err, "temporary file")
	}
	c, err := cab.NewReader(f, size)
	if err != nil {
		f.Close()
		return nil, fault.Wrap(err, "cabinet of %s", name)
	}
	for _, file := range c.Files {
		if len(c.Files) > 1 && !strings.EqualFold(symbols.Leaf(file.Name), name) {
			continue
		}
		if file.Size > MaxFileSize {
			f.Close()
			return nil, fault.New(fault.TooLarge, "%s has %d bytes", name, file.Size)
		}
		in, err := c.Open(file)
		if err != nil {
			f.Close()
			return nil, fault.Wrap(err, "cabinet of %s", name)
		}
		return member{in, f}, nil
	}
	f.Close()
	return nil, fault.New(fault.NotFound, "the cabinet of %s does not hold it", name)
}

// debuginfod is a debuginfod server: /buildid/BUILDID/debuginfo and executable.
type debuginfod struct{ *server }

func (d *debuginfod) text(_ context.Context, id symbols.ModuleID) (io.ReadCloser, error) {
	return nil, fault.New(fault.NotFound, "%s has no text of %s", d.host, id.DebugFile)
}

func (d *debuginfod) file(ctx context.Context, id symbols.ModuleID, kind FileKind) (io.ReadCloser, error) {
	build := strings.ToLower(id.CodeID)
	// A build id has at least eight bytes; shorter code ids are of PE files.
	if b, err := hex.DecodeString(build); err != nil || len(b) < 8 || strings.EqualFold(symbols.Leaf(id.DebugFile), "") {
		return noFile(id)
	}
	name := "debuginfo"
	if kind == Executable {
		name = "executable"
	}
	return d.get(ctx, "buildid/"+build+"/"+name)
}
