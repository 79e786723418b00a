package synth

// Linux holds the files of /proc and /etc that Breakpad and Mozilla's writers
// copy; "" and nil leave a stream out.
type Linux struct {
	CPUInfo    string
	Status     string
	LSBRelease string
	CmdLine    string
	Environ    string
	Maps       string
	Limits     string
	Auxv       []AuxvPair
	DSODebug   *DSODebug
}

// AuxvPair is an entry of the auxiliary vector, in words of the CPU.
type AuxvPair struct{ Key, Value uint64 }

func (w *writer) word(b *buffer, v uint64) {
	if w.d.System != nil && w.d.System.CPU.PointerSize() == 4 {
		b.u32(uint32(v))
		return
	}
	b.u64(v)
}

func (w *writer) auxv() Location {
	return w.compose(func(b *buffer) {
		for _, p := range w.d.Linux.Auxv {
			w.word(b, p.Key)
			w.word(b, p.Value)
		}
	})
}

// DSODebug is the dynamic linker's list of loaded objects (MD_LINUX_DSO_DEBUG).
type DSODebug struct {
	Version       uint32
	Brk, LoadBase uint64
	Dynamic       uint64
	DynamicData   []byte
	Links         []LinkMap
}

// LinkMap is one loaded object.
type LinkMap struct {
	Address uint64
	Name    string
	Dynamic uint64
}

func (w *writer) dsoDebug() Location {
	d := w.d.Linux.DSODebug
	links := w.compose(func(b *buffer) {
		for _, l := range d.Links {
			w.word(b, l.Address)
			b.u32(w.PutString(l.Name))
			if w.d.System != nil && w.d.System.CPU.PointerSize() == 8 {
				b.u64(l.Dynamic)
				continue
			}
			b.u32(uint32(l.Dynamic))
		}
	})
	return w.compose(func(b *buffer) {
		b.u32s(d.Version, links.RVA, uint32(len(d.Links)))
		w.word(b, d.Brk)
		w.word(b, d.LoadBase)
		w.word(b, d.Dynamic)
		b.bytes(d.DynamicData)
	})
}

// MacCrash is one record of Mozilla's macOS crash info stream: what a library
// left in its __crash_info section. Version 1 has the module alone, 4 and 5
// the rest, 5 the abort cause as well.
type MacCrash struct {
	Version                                              uint64
	Thread, DialogMode, AbortCause                       uint64
	Module, Message, Signature, Backtrace, SecondMessage string
}

// macRecords is how many records the stream has room for.
const macRecords = 20

func (w *writer) macCrash() Location {
	at := make([]Location, 0, macRecords)
	var start uint32 = 40
	for i, r := range w.d.MacCrash {
		if i == macRecords {
			break
		}
		at = append(at, w.compose(func(b *buffer) {
			b.u64(uint64(streamMacCrashInfo))
			b.u64(r.Version)
			texts := []string{r.Module}
			if r.Version >= 4 {
				b.u64(r.Thread)
				b.u64(r.DialogMode)
				texts = append(texts, r.Message, r.Signature, r.Backtrace, r.SecondMessage)
			}
			if r.Version >= 5 {
				b.u64(r.AbortCause)
			}
			start = uint32(len(b.b))
			for _, s := range texts {
				b.bytes([]byte(s))
				b.u8(0)
			}
		}))
	}
	return w.compose(func(b *buffer) {
		b.u32s(streamMacCrashInfo, uint32(len(at)), start)
		for i := range macRecords {
			if i < len(at) {
				b.location(at[i])
				continue
			}
			b.location(Location{})
		}
	})
}

func (w *writer) macBootArgs() Location {
	rva := w.PutString(w.d.MacBootArgs)
	return w.compose(func(b *buffer) {
		b.u32(streamMacBootArgs)
		b.u64(uint64(rva))
	})
}
