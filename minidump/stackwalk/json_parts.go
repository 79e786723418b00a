package stackwalk

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"mayday/minidump"
	"mayday/minidump/analysis"
	"mayday/minidump/format"
	"mayday/symbols"
)

func register(r int) format.Register { return format.Register(r) }

func compareNames(c format.CPU, a, b int) int {
	return cmp.Compare(c.RegisterName(register(a)), c.RegisterName(register(b)))
}

func (e *encoder) crash(s *State) {
	c := &s.Crash
	e.raw("{")
	e.key("address")
	if c.Address == nil {
		e.null()
	} else {
		e.address(*c.Address)
	}
	e.key("adjusted_address")
	switch a := c.Adjusted; {
	case a == nil:
		e.null()
	case a.NullPointer:
		e.raw(`{"kind":"null-pointer","offset":`)
		e.address(a.Address)
		e.raw("}")
	default:
		e.raw(`{"address":`)
		e.address(a.Address)
		e.raw(`,"kind":"non-canonical"}`)
	}
	e.key("assertion")
	e.null()
	e.key("crash_inconsistencies")
	if c.Address == nil {
		e.null()
	} else {
		e.raw("[")
		for i, text := range c.Inconsistencies {
			e.item(i)
			e.text(text)
		}
		e.raw("]")
	}
	e.key("crashing_thread")
	if s.RequestingThread < 0 {
		e.null()
	} else {
		e.number(uint64(s.RequestingThread))
	}
	e.key("instruction")
	e.optional(c.Instruction)
	e.key("instruction_pointer_update")
	if c.Jump == nil {
		e.null()
	} else {
		e.raw(`{"address":`)
		e.address(c.Jump.Address)
		if c.Jump.LikelyGuardPage {
			e.raw(`,"is_likely_guard_page":true`)
		}
		e.raw("}")
	}
	e.key("memory_accesses")
	e.accesses(c.Accesses)
	e.key("possible_bit_flips")
	e.bitFlips(c.BitFlips)
	e.key("type")
	e.optional(c.Reason)
	e.raw("}")
}

func (e *encoder) accesses(list []analysis.Access) {
	if list == nil {
		e.null()
		return
	}
	e.raw("[")
	for i, a := range list {
		e.item(i)
		e.raw("{")
		if a.Kind != "" {
			e.key("access_type")
			e.text(a.Kind)
		}
		e.key("address")
		e.address(a.Address)
		if a.LikelyGuardPage {
			e.key("is_likely_guard_page")
			e.boolean(true)
		}
		e.key("size")
		if a.Size == 0 {
			e.null()
		} else {
			e.number(uint64(a.Size))
		}
		e.raw("}")
	}
	e.raw("]")
}

func (e *encoder) bitFlips(list []analysis.BitFlip) {
	if len(list) == 0 {
		e.null()
		return
	}
	e.raw("[")
	for i, f := range list {
		e.item(i)
		e.raw("{")
		e.key("address")
		e.address(f.Address)
		e.key("confidence")
		// A 32-bit number written with the digits of a 64-bit one.
		e.b = strconv.AppendFloat(e.b, float64(f.Confidence), 'f', -1, 64)
		e.key("details")
		e.raw("{")
		e.key("is_null")
		e.boolean(f.IsNull)
		e.key("nearby_registers")
		e.number(uint64(f.NearbyRegisters))
		e.key("poison_registers")
		e.boolean(f.PoisonRegisters)
		e.key("was_low")
		e.boolean(f.WasLow)
		e.key("was_non_canonical")
		e.boolean(f.WasNonCanonical)
		e.raw("}")
		e.key("source_register")
		e.optional(f.Register)
		e.raw("}")
	}
	e.raw("]")
}

func (e *encoder) lsbRelease(r *LSBRelease) {
	if r == nil {
		e.null()
		return
	}
	e.raw("{")
	e.key("codename")
	e.text(r.Codename)
	e.key("description")
	e.text(r.Description)
	e.key("id")
	e.text(r.ID)
	e.key("release")
	e.text(r.Release)
	e.raw("}")
}

func (e *encoder) limits(list []Limit) {
	if list == nil {
		e.null()
		return
	}
	bound := func(b Bound) {
		if b.Unlimited {
			e.text("unlimited")
			return
		}
		e.number(b.Value)
	}
	e.raw(`{"limits":[`)
	for i, l := range list {
		if e.full(i) {
			break
		}
		e.item(i)
		e.raw("{")
		e.key("hard")
		bound(l.Hard)
		e.key("name")
		e.text(l.Name)
		e.key("soft")
		bound(l.Soft)
		e.key("unit")
		e.text(l.Unit)
		e.raw("}")
	}
	e.raw("]}")
}

func (e *encoder) macCrashInfo(list []minidump.MacCrashRecord) {
	if list == nil {
		e.null()
		return
	}
	number := func(k string, v uint64) {
		e.key(k)
		if v == 0 {
			e.null()
			return
		}
		e.address(v)
	}
	text := func(k, v string) {
		e.key(k)
		e.optional(v)
	}
	e.raw(`{"num_records":`)
	e.number(uint64(len(list)))
	e.raw(`,"records":[`)
	for i := range list {
		if e.full(i) {
			break
		}
		r := &list[i]
		e.item(i)
		e.raw("{")
		number("abort_cause", r.AbortCause)
		text("backtrace", r.Backtrace)
		number("dialog_mode", r.DialogMode)
		text("message", r.Message)
		text("message2", r.Message2)
		text("module", r.ModulePath)
		text("signature_string", r.SignatureString)
		number("thread", r.Thread)
		e.raw("}")
	}
	e.raw("]}")
}

func (e *encoder) assertion(a *minidump.Assertion) {
	e.raw("{")
	e.key("expression")
	e.text(a.Expression)
	e.key("file")
	e.text(a.File)
	e.key("function")
	e.text(a.Function)
	e.key("kind")
	e.number(uint64(a.Kind))
	e.key("line")
	e.number(uint64(a.Line))
	e.raw("}")
}

// problems says which lines of a symbol file broke the rules of its format: the
// first one by the strict rules, and those that had to be skipped.
func (e *encoder) problems(v *symbols.Verdict) {
	e.raw(`{"first_line":`)
	if v.Strict == 0 {
		e.null()
	} else {
		e.number(v.Strict)
	}
	e.raw(`,"skipped":`)
	e.number(v.Skipped)
	e.raw(`,"skipped_lines":[`)
	for i, n := range v.SkippedLines {
		e.item(i)
		e.number(n)
	}
	e.raw("]}")
}

func (e *encoder) crashpad(p *minidump.CrashpadInfo) {
	e.raw("{")
	e.key("annotations")
	e.annotations(p.Annotations)
	e.key("client_id")
	e.text(p.ClientID)
	e.key("modules")
	e.raw("[")
	for i := range p.Modules {
		if e.full(i) {
			break
		}
		m := &p.Modules[i]
		e.item(i)
		e.raw("{")
		e.key("annotations")
		e.annotations(append(m.Simple[:len(m.Simple):len(m.Simple)], m.Objects...))
		e.key("list")
		e.raw("[")
		for j, text := range m.List {
			if e.full(j) {
				break
			}
			e.item(j)
			e.text(text)
		}
		e.raw("]")
		e.key("module_index")
		e.number(uint64(m.Module))
		e.raw("}")
	}
	e.raw("]")
	e.key("report_id")
	e.text(p.ReportID)
	e.raw("}")
}

// annotations writes an object of the annotations that are text; of several
// with one name the last counts.
func (e *encoder) annotations(list []minidump.Annotation) {
	texts := make(map[string]string, len(list))
	for i := range list {
		if list[i].Type == format.CrashpadAnnotationString {
			texts[list[i].Name] = list[i].Value
		}
	}
	e.raw("{")
	for i, name := range slices.Sorted(maps.Keys(texts)) {
		if e.full(i) {
			break
		}
		e.item(i)
		e.text(name)
		e.raw(":")
		e.text(texts[name])
	}
	e.raw("}")
}
