package stackwalk

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"mayday/minidump"
	"mayday/minidump/analysis"
	"mayday/minidump/format"
	"mayday/minidump/stackwalk/machine"
	"mayday/symbols"
)

func register(r int) format.Register { return format.Register(r) }

func compareNames(c format.CPU, a, b int) int {
	return cmp.Compare(c.RegisterName(register(a)), c.RegisterName(register(b)))
}

func (e *encoder) crash(s *State) {
	c := &s.Crash
	e.Raw("{")
	e.Key("address")
	if c.Address == nil {
		e.Null()
	} else {
		e.address(*c.Address)
	}
	e.Key("adjusted_address")
	switch a := c.Adjusted; {
	case a == nil:
		e.Null()
	case a.NullPointer:
		e.Raw(`{"kind":"null-pointer","offset":`)
		e.address(a.Address)
		e.Raw("}")
	default:
		e.Raw(`{"address":`)
		e.address(a.Address)
		e.Raw(`,"kind":"non-canonical"}`)
	}
	e.Key("assertion")
	e.Null()
	e.Key("crash_inconsistencies")
	if c.Address == nil {
		e.Null()
	} else {
		e.Raw("[")
		for i, text := range c.Inconsistencies {
			e.Item(i)
			e.text(text)
		}
		e.Raw("]")
	}
	e.Key("crashing_thread")
	if s.RequestingThread < 0 {
		e.Null()
	} else {
		e.Number(uint64(s.RequestingThread))
	}
	e.Key("instruction")
	e.optional(c.Instruction)
	e.Key("instruction_pointer_update")
	if c.Jump == nil {
		e.Null()
	} else {
		e.Raw(`{"address":`)
		e.address(c.Jump.Address)
		if c.Jump.LikelyGuardPage {
			e.Raw(`,"is_likely_guard_page":true`)
		}
		e.Raw("}")
	}
	e.Key("memory_accesses")
	e.accesses(c.Accesses)
	e.Key("possible_bit_flips")
	e.bitFlips(c.BitFlips)
	e.Key("type")
	e.optional(c.Reason)
	e.Raw("}")
}

func (e *encoder) accesses(list []analysis.Access) {
	if list == nil {
		e.Null()
		return
	}
	e.Raw("[")
	for i, a := range list {
		e.Item(i)
		e.Raw("{")
		if a.Kind != "" {
			e.Key("access_type")
			e.text(a.Kind)
		}
		e.Key("address")
		e.address(a.Address)
		if a.LikelyGuardPage {
			e.Key("is_likely_guard_page")
			e.Boolean(true)
		}
		e.Key("size")
		if a.Size == 0 {
			e.Null()
		} else {
			e.Number(uint64(a.Size))
		}
		e.Raw("}")
	}
	e.Raw("]")
}

func (e *encoder) bitFlips(list []analysis.BitFlip) {
	if len(list) == 0 {
		e.Null()
		return
	}
	e.Raw("[")
	for i, f := range list {
		e.Item(i)
		e.Raw("{")
		e.Key("address")
		e.address(f.Address)
		e.Key("confidence")
		// A 32-bit number written with the digits of a 64-bit one.
		e.B = strconv.AppendFloat(e.B, float64(f.Confidence), 'f', -1, 64)
		e.Key("details")
		e.Raw("{")
		e.Key("is_null")
		e.Boolean(f.IsNull)
		e.Key("nearby_registers")
		e.Number(uint64(f.NearbyRegisters))
		e.Key("poison_registers")
		e.Boolean(f.PoisonRegisters)
		e.Key("was_low")
		e.Boolean(f.WasLow)
		e.Key("was_non_canonical")
		e.Boolean(f.WasNonCanonical)
		e.Raw("}")
		e.Key("source_register")
		e.optional(f.Register)
		e.Raw("}")
	}
	e.Raw("]")
}

func (e *encoder) lsbRelease(r *machine.Release) {
	if r == nil {
		e.Null()
		return
	}
	e.Raw("{")
	e.Key("codename")
	e.text(r.Codename)
	e.Key("description")
	e.text(r.Description)
	e.Key("id")
	e.text(r.ID)
	e.Key("release")
	e.text(r.Release)
	e.Raw("}")
}

func (e *encoder) limits(list []machine.Limit) {
	if list == nil {
		e.Null()
		return
	}
	bound := func(b machine.Bound) {
		if b.Unlimited {
			e.text("unlimited")
			return
		}
		e.Number(b.Value)
	}
	e.Raw(`{"limits":[`)
	for i, l := range list {
		if e.full(i) {
			break
		}
		e.Item(i)
		e.Raw("{")
		e.Key("hard")
		bound(l.Hard)
		e.Key("name")
		e.text(l.Name)
		e.Key("soft")
		bound(l.Soft)
		e.Key("unit")
		e.text(l.Unit)
		e.Raw("}")
	}
	e.Raw("]}")
}

func (e *encoder) macCrashInfo(list []minidump.MacCrashRecord) {
	if list == nil {
		e.Null()
		return
	}
	number := func(k string, v uint64) {
		e.Key(k)
		if v == 0 {
			e.Null()
			return
		}
		e.address(v)
	}
	text := func(k, v string) {
		e.Key(k)
		e.optional(v)
	}
	e.Raw(`{"num_records":`)
	e.Number(uint64(len(list)))
	e.Raw(`,"records":[`)
	for i := range list {
		if e.full(i) {
			break
		}
		r := &list[i]
		e.Item(i)
		e.Raw("{")
		number("abort_cause", r.AbortCause)
		text("backtrace", r.Backtrace)
		number("dialog_mode", r.DialogMode)
		text("message", r.Message)
		text("message2", r.Message2)
		text("module", r.ModulePath)
		text("signature_string", r.SignatureString)
		number("thread", r.Thread)
		e.Raw("}")
	}
	e.Raw("]}")
}

func (e *encoder) assertion(a *minidump.Assertion) {
	e.Raw("{")
	e.Key("expression")
	e.text(a.Expression)
	e.Key("file")
	e.text(a.File)
	e.Key("function")
	e.text(a.Function)
	e.Key("kind")
	e.Number(uint64(a.Kind))
	e.Key("line")
	e.Number(uint64(a.Line))
	e.Raw("}")
}

// problems says which lines of a symbol file broke the rules of its format: the
// first one by the strict rules, and those that had to be skipped.
func (e *encoder) problems(v *symbols.Verdict) {
	e.Raw(`{"first_line":`)
	if v.Strict == 0 {
		e.Null()
	} else {
		e.Number(v.Strict)
	}
	e.Raw(`,"skipped":`)
	e.Number(v.Skipped)
	e.Raw(`,"skipped_lines":[`)
	for i, n := range v.SkippedLines {
		e.Item(i)
		e.Number(n)
	}
	e.Raw("]}")
}

func (e *encoder) crashpad(p *minidump.CrashpadInfo) {
	e.Raw("{")
	e.Key("annotations")
	e.annotations(p.Annotations)
	e.Key("client_id")
	e.text(p.ClientID)
	e.Key("modules")
	e.Raw("[")
	for i := range p.Modules {
		if e.full(i) {
			break
		}
		m := &p.Modules[i]
		e.Item(i)
		e.Raw("{")
		e.Key("annotations")
		e.annotations(append(m.Simple[:len(m.Simple):len(m.Simple)], m.Objects...))
		e.Key("list")
		e.Raw("[")
		for j, text := range m.List {
			if e.full(j) {
				break
			}
			e.Item(j)
			e.text(text)
		}
		e.Raw("]")
		e.Key("module_index")
		e.Number(uint64(m.Module))
		e.Raw("}")
	}
	e.Raw("]")
	e.Key("report_id")
	e.text(p.ReportID)
	e.Raw("}")
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
	e.Raw("{")
	for i, name := range slices.Sorted(maps.Keys(texts)) {
		if e.full(i) {
			break
		}
		e.Item(i)
		e.text(name)
		e.Raw(":")
		e.text(texts[name])
	}
	e.Raw("}")
}
