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
		e.list(len(c.Inconsistencies), func(i int) { e.text(c.Inconsistencies[i]) })
	}
	e.Key("crashing_thread")
	if s.RequestingThread < 0 {
		e.Null()
	} else {
		e.Number(uint64(s.RequestingThread))
	}
	e.keyOptional("instruction", c.Instruction)
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
	e.keyOptional("type", c.Reason)
	e.Raw("}")
}

func (e *encoder) accesses(list []analysis.Access) {
	if list == nil {
		e.Null()
		return
	}
	e.list(len(list), func(i int) {
		a := &list[i]
		e.Raw("{")
		if a.Kind != "" {
			e.keyText("access_type", a.Kind)
		}
		e.keyAddress("address", a.Address)
		if a.LikelyGuardPage {
			e.keyBoolean("is_likely_guard_page", true)
		}
		e.keyPositive("size", uint64(a.Size))
		e.Raw("}")
	})
}

func (e *encoder) bitFlips(list []analysis.BitFlip) {
	if len(list) == 0 {
		e.Null()
		return
	}
	e.list(len(list), func(i int) {
		f := &list[i]
		e.Raw("{")
		e.keyAddress("address", f.Address)
		e.Key("confidence")
		// A 32-bit number written with the digits of a 64-bit one.
		e.B = strconv.AppendFloat(e.B, float64(f.Confidence), 'f', -1, 64)
		e.Key("details")
		e.Raw("{")
		e.keyBoolean("is_null", f.IsNull)
		e.keyNumber("nearby_registers", uint64(f.NearbyRegisters))
		e.keyBoolean("poison_registers", f.PoisonRegisters)
		e.keyBoolean("was_low", f.WasLow)
		e.keyBoolean("was_non_canonical", f.WasNonCanonical)
		e.Raw("}")
		e.keyOptional("source_register", f.Register)
		e.Raw("}")
	})
}

func (e *encoder) lsbRelease(r *machine.Release) {
	if r == nil {
		e.Null()
		return
	}
	e.Raw("{")
	e.keyText("codename", r.Codename)
	e.keyText("description", r.Description)
	e.keyText("id", r.ID)
	e.keyText("release", r.Release)
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
	e.Raw(`{"limits":`)
	e.list(len(list), func(i int) {
		l := &list[i]
		e.Raw("{")
		e.Key("hard")
		bound(l.Hard)
		e.keyText("name", l.Name)
		e.Key("soft")
		bound(l.Soft)
		e.keyText("unit", l.Unit)
		e.Raw("}")
	})
	e.Raw("}")
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
	e.Raw("{")
	e.keyNumber("num_records", uint64(len(list)))
	e.Key("records")
	e.list(len(list), func(i int) {
		r := &list[i]
		e.Raw("{")
		number("abort_cause", r.AbortCause)
		e.keyOptional("backtrace", r.Backtrace)
		number("dialog_mode", r.DialogMode)
		e.keyOptional("message", r.Message)
		e.keyOptional("message2", r.Message2)
		e.keyOptional("module", r.ModulePath)
		e.keyOptional("signature_string", r.SignatureString)
		number("thread", r.Thread)
		e.Raw("}")
	})
	e.Raw("}")
}

func (e *encoder) assertion(a *minidump.Assertion) {
	e.Raw("{")
	e.keyText("expression", a.Expression)
	e.keyText("file", a.File)
	e.keyText("function", a.Function)
	e.keyNumber("kind", uint64(a.Kind))
	e.keyNumber("line", uint64(a.Line))
	e.Raw("}")
}

// problems says which lines of a symbol file broke the rules of its format: the
// first one by the strict rules, and those that had to be skipped.
func (e *encoder) problems(v *symbols.Verdict) {
	e.Raw("{")
	e.keyPositive("first_line", v.Strict)
	e.keyNumber("skipped", v.Skipped)
	e.Key("skipped_lines")
	e.list(len(v.SkippedLines), func(i int) { e.Number(v.SkippedLines[i]) })
	e.Raw("}")
}

func (e *encoder) crashpad(p *minidump.CrashpadInfo) {
	e.Raw("{")
	e.Key("annotations")
	e.annotations(p.Annotations)
	e.keyText("client_id", p.ClientID)
	e.Key("modules")
	e.list(len(p.Modules), func(i int) {
		m := &p.Modules[i]
		e.Raw("{")
		e.Key("annotations")
		e.annotations(append(m.Simple[:len(m.Simple):len(m.Simple)], m.Objects...))
		e.Key("list")
		e.list(len(m.List), func(j int) { e.text(m.List[j]) })
		e.keyNumber("module_index", uint64(m.Module))
		e.Raw("}")
	})
	e.keyText("report_id", p.ReportID)
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
