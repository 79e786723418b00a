package machine

import (
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"mayday/minidump"
	"mayday/minidump/synth"
	"mayday/minidump/unwind"
)

func read(t *testing.T, d *synth.Dump) *minidump.Dump {
	t.Helper()
	out, err := minidump.FromBytes(d.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRead(t *testing.T) {
	code := uint64(0x2f)
	for _, c := range []struct {
		name   string
		h      unwind.Heuristics
		system synth.System
		want   Info
		width  int
	}{
		{"windows", unwind.Parity, synth.System{CPU: synth.X86, OS: synth.Windows, Major: 10, Build: 19045, CSD: " SP1 ", Vendor: "GenuineIntel", Level: 6, Revision: 0x9e0a, Processors: 8},
			Info{OS: "Windows NT", OSVersion: "10.0.19045 SP1", CPUName: "x86", CPUInfo: "GenuineIntel family 6 model 158 stepping 10", CPUCount: 8, Microcode: &code}, 8},
		{"Windows CE", unwind.Parity, synth.System{CPU: synth.ARM64, OS: 3}, Info{OS: "Windows NT", OSVersion: "0.0.0", CPUName: "arm64", Microcode: &code}, 16},
		{"a platform without a name", unwind.Parity, synth.System{CPU: synth.ARM64, OS: 1}, Info{OS: "0x0x000001", OSVersion: "0.0.0", CPUName: "arm64", Microcode: &code}, 16},
		{"RISC-V for others", unwind.Parity, synth.System{CPU: synth.RISCV64, OS: synth.LinuxOS, Major: 6}, Info{OS: "Linux", OSVersion: "6.0.0", CPUName: "unknown", Microcode: &code}, 16},
		{"32-bit RISC-V for others", unwind.Parity, synth.System{HasArchitecture: true, Architecture: 0x8005, OS: synth.LinuxOS, Major: 6}, Info{OS: "Linux", OSVersion: "6.0.0", CPUName: "unknown", Microcode: &code}, 16},
		{"RISC-V", unwind.Best, synth.System{CPU: synth.RISCV64, OS: synth.LinuxOS, Major: 6}, Info{OS: "Linux", OSVersion: "6.0.0", CPUName: "riscv64", Microcode: &code}, 16},
	} {
		got := Read(read(t, &synth.Dump{System: &c.system}), c.h, Client{Microcode: "0x2f"})
		if got.AddressWidth() != c.width {
			t.Errorf("%s: addresses have %d digits, want %d", c.name, got.AddressWidth(), c.width)
		}
		got.CPU = 0
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestMicrocode(t *testing.T) {
	for _, c := range []struct {
		cpuinfo, client string
		want            int64 // -1 for none
	}{
		{"model : 1\nmicrocode\t: 0x2f\nmicrocode : 0x30\n", "0x1", 0x2f},
		{"microcode\xff: 0x2f\n", "0x1", 1},
		{"microcode: \xff\nmicrocode: 0x+3\n", "", 3},
		{"microcode: 47\n", "0x1", -1}, // what is there counts
		{"", "12", -1},
	} {
		s := Read(read(t, &synth.Dump{System: &synth.System{}, Linux: synth.Linux{CPUInfo: c.cpuinfo}}), unwind.Parity, Client{Microcode: c.client})
		got := int64(-1)
		if s.Microcode != nil {
			got = int64(*s.Microcode)
		}
		if got != c.want {
			t.Errorf("%q and %q: %d, want %d", c.cpuinfo, c.client, got, c.want)
		}
	}
}

func TestProcessID(t *testing.T) {
	for _, c := range []struct {
		misc   *synth.Misc
		status string
		want   int64 // -1 for none
	}{
		{&synth.Misc{Version: 1, Flags: synth.MiscPID, PID: 7}, "Pid: 8\n", 7},
		{&synth.Misc{Version: 1, PID: 7}, "Pid: 8\n", -1},
		{nil, "Name:\tx\nPid:\t8\nPid: 9\n", 8},
		{nil, "Pid: +8\n", 8},
		{nil, "Pid: x\nPid: 9\n", 0},
		{nil, "Pid: 4294967296\n", 0},
		{nil, "Name: x\n", 0},
		{nil, "", -1},
	} {
		got := int64(-1)
		if id := ProcessID(read(t, &synth.Dump{Misc: c.misc, Linux: synth.Linux{Status: c.status}})); id != nil {
			got = int64(*id)
		}
		if got != c.want {
			t.Errorf("%v and %q: %d, want %d", c.misc, c.status, got, c.want)
		}
	}
}

func TestLimits(t *testing.T) {
	const head = "Limit                     Soft Limit           Hard Limit           Units     \n"
	bound := func(v uint64) Bound { return Bound{Value: v} }
	for text, want := range map[string][]Limit{
		"":          nil,
		head:        {},
		"\n" + head: {},
		head + "Max cpu time              unlimited            unlimited            seconds   \n\nMax processes             127332               +4                   processes \n": {
			{"Max cpu time", "seconds", Bound{Unlimited: true}, Bound{Unlimited: true}}, {"Max processes", "processes", bound(127332), bound(4)}},
		// Of the blanks behind the numbers none or one is left over.
		head + "Max nice priority         0                    0                    \nMax realtime priority     99                   99                   \n": {
			{"Max nice priority", "n/a", bound(0), bound(0)}, {"Max realtime priority", "", bound(99), bound(99)}},
		head + "a  1  x\nb  1\na  2  3\n": {{"a", "n/a", bound(2), bound(3)}},
		head + "\xff\xe2\x82  1  2  u":    {{"\ufffd\ufffd", "u", bound(1), bound(2)}},
	} {
		got := ReadLimits(read(t, &synth.Dump{Linux: synth.Linux{Limits: text}}))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func TestRelease(t *testing.T) {
	for text, want := range map[string]*Release{
		"": nil,
		"DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=22.04\nDISTRIB_CODENAME=jammy\nDISTRIB_DESCRIPTION=\"Ubuntu 22.04\"\n": {"Ubuntu", "22.04", "jammy", "Ubuntu 22.04"},
		"ID = \"arch\" \nPRETTY_NAME='Arch'\nVERSION_ID=\"1\nno=\n=\n":                                             {ID: "arch", Description: "'Arch'", Release: "\"1"},
		"ID=\u00a0a\nVERSION_ID=\va\n": {ID: "\u00a0a", Release: "\va"}, // only blanks of ASCII are cut
	} {
		got := ReadRelease(read(t, &synth.Dump{Linux: synth.Linux{LSBRelease: text}}))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func TestReadClient(t *testing.T) {
	none := map[string]string{}
	for text, want := range map[string]Client{
		"":   {Certs: none},
		"[]": {Certs: none},
		`{"ModuleSignatureInfo":{"A":["x","y"],"B":[]},"CPUMicrocodeVersion":"0x1"}`: {map[string]string{"x": "A", "y": "A"}, "0x1"},
		`{"ModuleSignatureInfo":"{\"A\":[\"x\"]}","CPUMicrocodeVersion":1}`:          {Certs: map[string]string{"x": "A"}},
		`{"modulesignatureinfo":{"A":["x"]},"cpumicrocodeversion":"0x1"}`:            {Certs: none},
		`{"ModuleSignatureInfo":{"A":["x"],"B":null}}`:                               {Certs: none},
		`{"ModuleSignatureInfo":{"A":["x",null]}}`:                                   {Certs: none},
		`{"ModuleSignatureInfo":{"A":"x"}}`:                                          {Certs: none},
	} {
		if diff := cmp.Diff(want, ReadClient([]byte(text))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

// FuzzRead reads files of /proc and annotations of any content.
func FuzzRead(f *testing.F) {
	f.Add("microcode: 0x2f\n", "Pid: 7\n", "ID=x\n", "head\na  1  2  u\n", `{"ModuleSignatureInfo":"{\"A\":[\"x\"]}"}`)
	f.Add("\xff\xfe:", ":\n=", "\"=\"", "\n\n  \n", `{"ModuleSignatureInfo":{"A":[null]}}`)
	f.Fuzz(func(t *testing.T, cpuinfo, status, release, limits, client string) {
		d, err := minidump.FromBytes((&synth.Dump{System: &synth.System{}, Linux: synth.Linux{CPUInfo: cpuinfo, Status: status, LSBRelease: release, Limits: limits}}).Bytes())
		if err != nil {
			t.Fatal(err)
		}
		c := ReadClient([]byte(client))
		Read(d, unwind.Parity, c)
		ProcessID(d)
		ReadRelease(d)
		names := map[string]bool{}
		for _, l := range ReadLimits(d) {
			if names[l.Name] || !utf8.ValidString(l.Name+l.Unit) {
				t.Fatalf("limit %+v", l)
			}
			names[l.Name] = true
		}
	})
}
