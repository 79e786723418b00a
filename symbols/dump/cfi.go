package dump

import (
	"slices"
	"strings"

	"mayday/symbols/executable"
	"mayday/symbols/sym"
	"mayday/symbols/unwindinfo/dwarf"
	"mayday/symbols/unwindinfo/pcsp"
)

// writeCFI writes the rules of .eh_frame, and those of .debug_frame where a
// binary has no other. All rules with expressions are there, which compilers use
// for frames that are aligned, and linkers for the stubs that call other modules.
//
// What Go compiled has its rules from the table of Go's runtime. Its linker writes
// a .debug_frame, which other tools strip and which does not say where stacks end.
func (m *module) writeCFI() error {
	table := dwarf.New(m.binary, ".eh_frame", ".eh_frame_hdr")
	if table == nil {
		table = dwarf.New(m.binary, ".debug_frame", "")
	}
	var golang *pcsp.Frames
	if m.golang != nil {
		golang = pcsp.Of(m.binary, m.golang)
	}
	if table != nil {
		for code, rows := range table.All() {
			if golang != nil && m.golang.Covers(code.Offset) {
				continue
			}
			if err := m.writeRows(code, rows); err != nil {
				return err
			}
		}
	}
	if golang == nil {
		return nil
	}
	for code, rows := range golang.All() {
		if err := m.writeRows(code, rows); err != nil {
			return err
		}
	}
	return nil
}

// writeRows writes the rules of a piece of code.
func (m *module) writeRows(code executable.Range, rows []dwarf.Row) error {
	if err := m.meter.Check(); err != nil {
		return err
	}
	if err := m.out.Write(&sym.Record{Kind: sym.KindCFIInit, Address: code.Offset, Size: code.Size, Text: []byte(rows[0].Rules)}); err != nil {
		return err
	}
	before := dwarf.Split(rows[0].Rules)
	for _, row := range rows[1:] {
		if err := m.meter.Step(); err != nil {
			return err
		}
		now := dwarf.Split(row.Rules)
		changes := changed(before, now)
		if before = now; changes == "" {
			continue
		}
		if err := m.out.Write(&sym.Record{Kind: sym.KindCFI, Address: row.Offset, Text: []byte(changes)}); err != nil {
			return err
		}
	}
	return nil
}

// changed are the rules of a row that differ from those of the row before. A
// register that has no rule any more is as it was.
func changed(old, now []string) string {
	var out []string
	for i := 0; i < len(now); i += 2 {
		if v, ok := ruleOf(old, now[i]); !ok || v != now[i+1] {
			out = append(out, now[i]+": "+now[i+1])
		}
	}
	for i := 0; i < len(old); i += 2 {
		if _, ok := ruleOf(now, old[i]); !ok {
			out = append(out, old[i]+": "+old[i])
		}
	}
	return strings.Join(out, " ")
}

// ruleOf is the rule for a register among rules taken apart.
func ruleOf(rules []string, register string) (string, bool) {
	for pair := range slices.Chunk(rules, 2) {
		if pair[0] == register {
			return pair[1], true
		}
	}
	return "", false
}
