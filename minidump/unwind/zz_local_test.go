package unwind

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"

	"mayday/minidump/format"
	"mayday/symbols"
)

type lmod struct {
	base, end uint64
	name      string
	idx       int
	sym       *lsym
	path      string
}
type lmods struct {
	list []lmod // kept sorted
	end  uint64
}

func (m *lmods) Find(a uint64) (int, uint64, bool) {
	i := sort.Search(len(m.list), func(i int) bool { return m.list[i].base > a }) - 1
	if i < 0 || a >= m.list[i].end {
		return 0, 0, false
	}
	return i, m.list[i].base, true
}
func (m *lmods) Symbols(_ context.Context, i int) Symbols {
	if m.list[i].sym == nil {
		return nil
	}
	return m.list[i].sym
}
func (m *lmods) End() uint64 { return m.end }

type lsym struct {
	funcs []symbols.Function
	pubs  []symbols.Function
	cfi   []lcfi
	win   [2][]symbols.WinFrame
}
type lcfi struct {
	start, size uint64
	init        string
	deltas      []ldelta
}
type ldelta struct {
	a uint64
	r string
}

func (s *lsym) Function(o uint64) (symbols.Function, bool) {
	i := sort.Search(len(s.funcs), func(i int) bool { return s.funcs[i].Address > o }) - 1
	if i >= 0 && o < s.funcs[i].Address+s.funcs[i].Size {
		return s.funcs[i], true
	}
	j := sort.Search(len(s.pubs), func(j int) bool { return s.pubs[j].Address > o }) - 1
	if j < 0 || i >= 0 && s.funcs[i].Address >= s.pubs[j].Address {
		return symbols.Function{}, false
	}
	return s.pubs[j], true
}
func (s *lsym) CFI(o uint64) (symbols.CFI, bool) {
	i := sort.Search(len(s.cfi), func(i int) bool { return s.cfi[i].start > o }) - 1
	if i < 0 || o >= s.cfi[i].start+s.cfi[i].size {
		return symbols.CFI{}, false
	}
	c := symbols.CFI{Start: s.cfi[i].start, Size: s.cfi[i].size, Init: s.cfi[i].init}
	for _, d := range s.cfi[i].deltas {
		if d.a <= o {
			c.Deltas = append(c.Deltas, d.r)
		}
	}
	return c, true
}
func (s *lsym) Win(o uint64) (w symbols.Win, ok bool) {
	for k, l := range s.win {
		i := sort.Search(len(l), func(i int) bool { return l[i].Address > o }) - 1
		if i >= 0 && o < l[i].Address+uint64(l[i].Size) {
			ok = true
			if k == 0 {
				w.FPO = &l[i]
			} else {
				w.FrameData = &l[i]
			}
		}
	}
	return
}

func h(s string) uint64 { v, _ := strconv.ParseUint(s, 16, 64); return v }

func parseLocal(path string) *lsym {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	s := &lsym{}
	var raw [2][]symbols.WinFrame
	for l := range strings.Lines(string(b)) {
		l = strings.TrimRight(l, "\r\n")
		f := strings.Split(l, " ")
		switch {
		case strings.HasPrefix(l, "FUNC "), strings.HasPrefix(l, "PUBLIC "):
			n := 1
			if f[1] == "m" {
				n = 2
			}
			if f[0] == "FUNC" {
				s.funcs = append(s.funcs, symbols.Function{Address: h(f[n]), Size: h(f[n+1]), ParamSize: uint32(h(f[n+2])), Name: strings.Join(f[n+3:], " ")})
			} else {
				s.pubs = append(s.pubs, symbols.Function{Public: true, Address: h(f[n]), ParamSize: uint32(h(f[n+1])), Name: strings.Join(f[n+2:], " ")})
			}
		case strings.HasPrefix(l, "STACK CFI INIT "):
			s.cfi = append(s.cfi, lcfi{start: h(f[3]), size: h(f[4]), init: strings.Join(f[5:], " ")})
		case strings.HasPrefix(l, "STACK CFI "):
			c := &s.cfi[len(s.cfi)-1]
			c.deltas = append(c.deltas, ldelta{h(f[2]), strings.Join(f[3:], " ")})
		case strings.HasPrefix(l, "STACK WIN "):
			k := -1
			if f[2] == "4" && f[11] == "1" {
				k = 1
			} else if f[2] == "0" && f[11] == "0" {
				k = 0
			}
			if k < 0 {
				continue
			}
			w := symbols.WinFrame{Address: h(f[3]), Size: uint32(h(f[4])), ParamSize: uint32(h(f[7])), SavedRegsSize: uint32(h(f[8])), LocalsSize: uint32(h(f[9]))}
			if k == 1 {
				w.Program = strings.Join(f[12:], " ")
			} else {
				w.AllocatesBasePointer = f[12] == "1"
			}
			if n := len(raw[k]); n > 0 && w.Size > 0 {
				p := &raw[k][n-1]
				if w.Address < p.Address+uint64(p.Size) && p.Address < w.Address+uint64(w.Size) {
					if w.Address > p.Address {
						p.Size = uint32(w.Address - p.Address)
					} else if w.Address != p.Address || w.Size != p.Size {
						continue
					}
				}
			}
			if w.Size > 0 {
				raw[k] = append(raw[k], w)
			}
		}
	}
	sort.SliceStable(s.funcs, func(i, j int) bool {
		if s.funcs[i].Address != s.funcs[j].Address {
			return s.funcs[i].Address < s.funcs[j].Address
		}
		return s.funcs[i].Size < s.funcs[j].Size
	})
	var kept []symbols.Function
	for _, f := range s.funcs {
		if f.Size == 0 || len(kept) > 0 && f.Address < kept[len(kept)-1].Address+kept[len(kept)-1].Size {
			continue
		}
		kept = append(kept, f)
	}
	s.funcs = kept
	sort.SliceStable(s.pubs, func(i, j int) bool { return s.pubs[i].Address < s.pubs[j].Address })
	sort.SliceStable(s.cfi, func(i, j int) bool {
		if s.cfi[i].start != s.cfi[j].start {
			return s.cfi[i].start < s.cfi[j].start
		}
		return s.cfi[i].size < s.cfi[j].size
	})
	var ck []lcfi
	for _, f := range s.cfi {
		if f.size == 0 || len(ck) > 0 && f.start < ck[len(ck)-1].start+ck[len(ck)-1].size {
			continue
		}
		sort.SliceStable(f.deltas, func(i, j int) bool { return f.deltas[i].a < f.deltas[j].a })
		ck = append(ck, f)
	}
	s.cfi = ck
	for k := range raw {
		sort.SliceStable(raw[k], func(i, j int) bool { return raw[k][i].Address < raw[k][j].Address })
		var wk []symbols.WinFrame
		for _, f := range raw[k] {
			if len(wk) > 0 && f.Address < wk[len(wk)-1].Address+uint64(wk[len(wk)-1].Size) {
				continue
			}
			wk = append(wk, f)
		}
		s.win[k] = wk
	}
	return s
}

type lregion struct {
	base uint64
	b    []byte
}

func loadDump(path string, symdir string) (threads []Thread, p Process, modnames []string, err error) {
	d, err := os.ReadFile(path)
	if err != nil {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	le := binary.LittleEndian
	var bo binary.ByteOrder = le
	if bytes.Equal(d[:4], []byte("PMDM")) {
		bo = binary.BigEndian
	}
	u32 := func(o uint32) uint32 { return bo.Uint32(d[o:]) }
	u64 := func(o uint32) uint64 { return bo.Uint64(d[o:]) }
	st := map[uint32][2]uint32{}
	for i := range u32(8) {
		o := u32(12) + 12*i
		st[u32(o)] = [2]uint32{u32(o + 8), u32(o + 4)}
	}
	arch := bo.Uint16(d[st[7][0]:])
	plat := u32(st[7][0] + 20)
	if st[7][0] != 0 {
		plat = u32(st[7][0] + 16 + 4 - 0)
	}
	_ = plat
	plat = u32(st[7][0] + 20)
	switch plat {
	case 2, 1, 3:
		p.Platform = Windows
	case 0x8102:
		p.Platform = IOS
	}
	p.Heuristics = Parity
	var regions []lregion
	list := func(id, entry uint32) (start, n uint32) {
		s, ok := st[id]
		if !ok {
			return
		}
		n = u32(s[0])
		start = s[0] + 4
		if s[1] == 4+n*entry+4 {
			start += 4
		} else if s[1] != 4+n*entry {
			return 0, 0
		}
		return
	}
	if s, ok := st[9]; ok {
		n := u64(s[0])
		off := u64(s[0] + 8)
		for i := range uint32(n) {
			a, l := u64(s[0]+16+16*i), u64(s[0]+24+16*i)
			regions = append(regions, lregion{a, d[off : off+l]})
			off += l
		}
	} else {
		s, n := list(5, 16)
		for i := range n {
			o := s + 16*i
			regions = append(regions, lregion{u64(o), d[u32(o+12) : u32(o+12)+u32(o+8)]})
		}
	}
	find := func(a uint64) *lregion {
		for i := range regions {
			if a >= regions[i].base && a-regions[i].base < uint64(len(regions[i].b)) {
				return &regions[i]
			}
		}
		return nil
	}
	str := func(rva uint32) string {
		n := u32(rva)
		var sb strings.Builder
		for i := uint32(0); i+1 < n; i += 2 {
			sb.WriteRune(rune(bo.Uint16(d[rva+4+i:])))
		}
		return sb.String()
	}
	ms := &lmods{}
	s, n := list(4, 108)
	var all []lmod
	for i := range n {
		o := s + 108*i
		base, size := u64(o), uint64(u32(o+8))
		name := str(u32(o + 20))
		cvs, cvr := u32(o+24+52), u32(o+24+56)
		dbg, id := "", ""
		if cvs > 24 && u32(cvr) == 0x53445352 {
			g := d[cvr+4:]
			id = fmt.Sprintf("%08X%04X%04X%X%x", le.Uint32(g), le.Uint16(g[4:]), le.Uint16(g[6:]), g[8:16], u32(cvr+20))
			dbg = string(bytes.SplitN(d[cvr+24:cvr+cvs], []byte{0}, 2)[0])
		} else if cvs > 4 && u32(cvr) == 0x4270454c {
			var g [16]byte
			copy(g[:], d[cvr+4:cvr+cvs])
			id = fmt.Sprintf("%08X%04X%04X%X0", le.Uint32(g[:]), le.Uint16(g[4:]), le.Uint16(g[6:]), g[8:16])
			dbg = name
		}
		leaf := dbg[strings.LastIndexAny(dbg, `/\`)+1:]
		sy := leaf
		if strings.HasSuffix(strings.ToLower(leaf), ".pdb") {
			sy = leaf[:len(leaf)-4]
		}
		if base+size > ms.end && size > 0 {
			ms.end = base + size
		}
		if size == 0 || base+size < base {
			continue
		}
		all = append(all, lmod{base: base, end: base + size, name: name[strings.LastIndexAny(name, `/\`)+1:], path: filepath.Join(symdir, leaf, id, sy+".sym")})
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].base < all[j].base })
	for _, m := range all {
		if k := len(ms.list); k > 0 && m.base < ms.list[k-1].end {
			continue
		}
		if symdir != "" {
			m.sym = parseLocal(m.path)
		}
		ms.list = append(ms.list, m)
		modnames = append(modnames, m.name)
	}
	p.Modules = ms
	req, exc := uint32(0xffffffff), []byte(nil)
	if e, ok := st[6]; ok {
		req = u32(e[0])
		o := e[0] + 8 + 152
		exc = d[u32(o+4) : u32(o+4)+u32(o)]
	}
	skip := int64(-1)
	if e, ok := st[0x47670001]; ok {
		if u32(e[0])&1 != 0 {
			skip = int64(u32(e[0] + 4))
		}
	}
	s, n = list(3, 48)
	for i := range n {
		o := s + 48*i
		tid := u32(o)
		var t Thread
		if int64(tid) != skip {
			cs, cr := u32(o+40), u32(o+44)
			if int(cr+cs) <= len(d) {
				t.Context, _ = format.DecodeContext(arch, d[cr:cr+cs], bo)
			}
			if tid == req && exc != nil {
				if c, err := format.DecodeContext(arch, exc, bo); err == nil {
					t.Context = c
				}
			}
		}
		sb := u64(o + 24)
		ss, sr := u32(o+32), u32(o+36)
		var stk lregion
		if ss > 0 && int(sr)+int(ss) <= len(d) {
			stk = lregion{sb, d[sr : sr+ss]}
		} else if r := find(sb); r != nil {
			stk = *r
		}
		if t.Context != nil {
			sp := t.Context.SP()
			if sp < stk.base || sp-stk.base+uint64(t.Context.CPU.PointerSize()) > uint64(len(stk.b)) {
				if r := find(sp); r != nil {
					stk = *r
				}
			}
		}
		t.Stack = Stack{stk.base, stk.b, bo}
		threads = append(threads, t)
	}
	return
}

func compareLocal(t *testing.T, dump, expected, symdir string) (same, total int) {
	var want struct {
		Threads []struct {
			Frames []struct {
				Offset, Trust string
				Module        *string
			}
		}
	}
	b, err := os.ReadFile(expected)
	if err != nil {
		return
	}
	if err := json.Unmarshal(b, &want); err != nil {
		t.Error(err)
	}
	threads, p, names, err := loadDump(dump, symdir)
	if err != nil {
		t.Logf("%s: %v", filepath.Base(dump), err)
	}
	w := NewWalker(p)
	for i, wt := range want.Threads {
		var got CallStack
		if i < len(threads) {
			got = w.Walk(context.Background(), threads[i])
		}
		total += max(len(wt.Frames), len(got.Frames))
		reported := false
		for j := range max(len(wt.Frames), len(got.Frames)) {
			g, x := "-", "-"
			if j < len(got.Frames) {
				f := got.Frames[j]
				m := "none"
				if f.Module >= 0 {
					m = names[f.Module]
				}
				g = fmt.Sprintf("%#x %s %s", f.Instruction, f.Trust, m)
			}
			if j < len(wt.Frames) {
				f := wt.Frames[j]
				m := "none"
				if f.Module != nil {
					m = *f.Module
				}
				o, _ := strconv.ParseUint(f.Offset[2:], 16, 64)
				x = fmt.Sprintf("%#x %s %s", o, f.Trust, m)
			}
			if g == x {
				same++
			} else if !reported {
				reported = true
				t.Logf("%s thread %d frame %d: got %s want %s  (%d/%d)", filepath.Base(expected), i, j, g, x, len(got.Frames), len(wt.Frames))
			}
		}
	}
	return
}

func TestLocalPeer(t *testing.T) {
	root := "../../../shared/data/stackwalk/"
	v := root + "visible/"
	dumps, _ := filepath.Glob(v + "dumps/*.dmp")
	for _, kind := range []string{"nosym", "sym"} {
		s, n := 0, 0
		for _, d := range dumps {
			name := strings.TrimSuffix(filepath.Base(d), ".dmp")
			dir := ""
			if kind == "sym" {
				dir = v + "symbols"
			}
			a, b := compareLocal(t, d, v+"expected/"+name+"."+kind+".json", dir)
			s += a
			n += b
		}
		t.Logf("%s: %d of %d", kind, s, n)
	}
	s, n := 0, 0
	sets, _ := filepath.Glob(root + "winset/*/*.dmp")
	for _, d := range sets {
		a, b := compareLocal(t, d, strings.TrimSuffix(d, ".dmp")+".sym.json", filepath.Dir(d)+"/symbols")
		s += a
		n += b
	}
	t.Logf("winset: %d of %d", s, n)
	nc, _ := filepath.Glob(root + "nocap/*.dmp")
	for _, d := range nc {
		threads, p, _, err := loadDump(d, root+"nocap/symbols")
		if err != nil {
			t.Error(err)
		}
		w := NewWalker(p)
		for i, th := range threads {
			c := w.Walk(context.Background(), th)
			t.Logf("%s %d: %d frames, %q", filepath.Base(d), i, len(c.Frames), c.Truncated)
		}
	}
}
