package debuginfo

// The tags, attributes and forms that matter (DWARF 5, sections 7.5.3 to 7.5.6).
const (
	tagClass      = 0x02
	tagEnum       = 0x04
	tagLexical    = 0x0b
	tagUnit       = 0x11
	tagStruct     = 0x13
	tagUnion      = 0x17
	tagInlined    = 0x1d
	tagCatch      = 0x25
	tagSubprogram = 0x2e
	tagTry        = 0x32
	tagInterface  = 0x38
	tagNamespace  = 0x39
	tagPartial    = 0x3c
	tagSkeleton   = 0x4a

	attrSibling         = 0x01
	attrName            = 0x03
	attrStmtList        = 0x10
	attrLowPC           = 0x11
	attrHighPC          = 0x12
	attrCompDir         = 0x1b
	attrAbstractOrigin  = 0x31
	attrSpecification   = 0x47
	attrEntryPC         = 0x52
	attrRanges          = 0x55
	attrCallFile        = 0x58
	attrCallLine        = 0x59
	attrLinkageName     = 0x6e
	attrStrOffsetsBase  = 0x72
	attrAddrBase        = 0x73
	attrRnglistsBase    = 0x74
	attrMIPSLinkageName = 0x2007

	formAddr          = 0x01
	formBlock2        = 0x03
	formBlock4        = 0x04
	formData2         = 0x05
	formData4         = 0x06
	formData8         = 0x07
	formString        = 0x08
	formBlock         = 0x09
	formBlock1        = 0x0a
	formData1         = 0x0b
	formFlag          = 0x0c
	formSdata         = 0x0d
	formStrp          = 0x0e
	formUdata         = 0x0f
	formRefAddr       = 0x10
	formRef1          = 0x11
	formRef2          = 0x12
	formRef4          = 0x13
	formRef8          = 0x14
	formRefUdata      = 0x15
	formIndirect      = 0x16
	formSecOffset     = 0x17
	formExprloc       = 0x18
	formFlagPresent   = 0x19
	formStrx          = 0x1a
	formAddrx         = 0x1b
	formRefSup4       = 0x1c
	formStrpSup       = 0x1d
	formData16        = 0x1e
	formLineStrp      = 0x1f
	formRefSig8       = 0x20
	formImplicitConst = 0x21
	formLoclistx      = 0x22
	formRnglistx      = 0x23
	formRefSup8       = 0x24
	formStrx1         = 0x25
	formStrx2         = 0x26
	formStrx3         = 0x27
	formStrx4         = 0x28
	formAddrx1        = 0x29
	formAddrx2        = 0x2a
	formAddrx3        = 0x2b
	formAddrx4        = 0x2c
	formGNURefAlt     = 0x1f20
	formGNUStrpAlt    = 0x1f21
)

// class is what a value is.
type class uint8

const (
	noValue class = iota
	isAddress
	isAddressIndex
	isNumber
	isReference // to an entry, from the start of .debug_info
	isText
	isTextIndex
	isOffset // in a section
	isListIndex
	isOther // nothing that matters here
)

// value is the value of an attribute.
type value struct {
	class class
	bits  uint64
	text  []byte // of formString, which lies among the entries
}

// width is how a unit writes numbers.
type width struct {
	version uint16
	address uint8 // bytes
	wide    bool  // the 64-bit form
}

func (w width) offset() int {
	if w.wide {
		return 8
	}
	return 4
}

// reference is the size of a reference to an entry of another unit.
func (w width) reference() int {
	if w.version == 2 {
		return int(w.address)
	}
	return w.offset()
}

// size is how many bytes a form takes, -1 when that depends on the value.
func (w width) size(form uint16) int {
	switch form {
	case formFlagPresent, formImplicitConst:
		return 0
	case formData1, formFlag, formRef1, formStrx1, formAddrx1:
		return 1
	case formData2, formRef2, formStrx2, formAddrx2:
		return 2
	case formStrx3, formAddrx3:
		return 3
	case formData4, formRef4, formStrx4, formAddrx4, formRefSup4:
		return 4
	case formData8, formRef8, formRefSig8, formRefSup8:
		return 8
	case formData16:
		return 16
	case formAddr:
		return int(w.address)
	case formStrp, formSecOffset, formStrpSup, formLineStrp, formGNURefAlt, formGNUStrpAlt:
		return w.offset()
	case formRefAddr:
		return w.reference()
	}
	return -1
}

// pass steps over a value.
func (w width) pass(c *cursor, form uint16) {
	if n := w.size(form); n >= 0 {
		c.skip(uint64(n))
		return
	}
	switch form {
	case formBlock1:
		c.skip(uint64(c.u8()))
	case formBlock2:
		c.skip(uint64(c.u16()))
	case formBlock4:
		c.skip(uint64(c.u32()))
	case formBlock, formExprloc:
		c.skip(c.uleb())
	case formSdata, formUdata, formRefUdata, formStrx, formAddrx, formLoclistx, formRnglistx:
		c.uleb()
	case formString:
		c.text()
	case formIndirect:
		// One that is indirect again is written by nobody.
		if form = uint16(min(c.uleb(), 0xffff)); form == formIndirect || form == formImplicitConst {
			c.fail()
			return
		}
		w.pass(c, form)
	default:
		c.fail()
	}
}

// read reads a value. Base is where the unit starts, for references within it.
func (w width) read(c *cursor, form uint16, constant int64, base uint64) value {
	switch form {
	case formAddr:
		return value{class: isAddress, bits: c.uint(int(w.address))}
	case formData1, formFlag:
		return value{class: isNumber, bits: uint64(c.u8())}
	case formData2:
		return value{class: isNumber, bits: uint64(c.u16())}
	case formData4:
		return value{class: isNumber, bits: uint64(c.u32())}
	case formData8:
		return value{class: isNumber, bits: c.uint(8)}
	case formUdata:
		return value{class: isNumber, bits: c.uleb()}
	case formSdata:
		return value{class: isNumber, bits: uint64(c.sleb())}
	case formImplicitConst:
		return value{class: isNumber, bits: uint64(constant)}
	case formSecOffset:
		return value{class: isOffset, bits: c.offset(w.wide)}
	case formRef1:
		return value{class: isReference, bits: base + uint64(c.u8())}
	case formRef2:
		return value{class: isReference, bits: base + uint64(c.u16())}
	case formRef4:
		return value{class: isReference, bits: base + uint64(c.u32())}
	case formRef8:
		return value{class: isReference, bits: base + c.uint(8)}
	case formRefUdata:
		return value{class: isReference, bits: base + c.uleb()}
	case formRefAddr:
		return value{class: isReference, bits: c.uint(w.reference())}
	case formRnglistx:
		return value{class: isListIndex, bits: c.uleb()}
	case formAddrx:
		return value{class: isAddressIndex, bits: c.uleb()}
	case formAddrx1, formAddrx2, formAddrx3, formAddrx4:
		return value{class: isAddressIndex, bits: c.uint(int(form-formAddrx1) + 1)}
	case formIndirect:
		if form = uint16(min(c.uleb(), 0xffff)); form == formIndirect || form == formImplicitConst {
			c.fail()
			return value{}
		}
		return w.read(c, form, 0, base)
	}
	return w.readText(c, form)
}

// readText reads a value that may be a text.
func (w width) readText(c *cursor, form uint16) value {
	ref := func(table textRef, at uint64) value {
		return value{class: isText, bits: uint64(table) | min(at, tableOffsets)}
	}
	switch form {
	case formString:
		return value{class: isText, text: c.text()}
	case formStrp:
		return ref(inStr, c.offset(w.wide))
	case formLineStrp:
		return ref(inLineStr, c.offset(w.wide))
	case formStrx:
		return value{class: isTextIndex, bits: c.uleb()}
	case formStrx1, formStrx2, formStrx3, formStrx4:
		return value{class: isTextIndex, bits: c.uint(int(form-formStrx1) + 1)}
	}
	w.pass(c, form)
	return value{class: isOther}
}
