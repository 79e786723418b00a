package rawtext

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"

	"mayday/minidump/format"
)

// fields lists the exported fields of a record, those of records in it after a
// dot.
func fields(prefix string, record any) []pair {
	v := reflect.ValueOf(record)
	var list []pair
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		list = append(list, field(prefix+snake(f.Name), f.Name, v.Field(i))...)
	}
	return list
}

func field(name, raw string, v reflect.Value) []pair {
	one := func(value string) []pair { return []pair{{name, value}} }
	switch x := v.Interface().(type) {
	case format.GUID:
		return one(guid(x))
	case format.SystemTime:
		return one(fmt.Sprintf("%04d-%02d-%02d (day %d) %02d:%02d:%02d.%03d", x.Year, x.Month, x.Day, x.DayOfWeek, x.Hour, x.Minute, x.Second, x.Milliseconds))
	case format.Location:
		return []pair{{name + ".data_size", strconv.FormatUint(uint64(x.Size), 10)}, {name + ".rva", hexNumber(uint64(x.RVA))}}
	}
	switch v.Kind() {
	case reflect.Struct:
		return fields(name+".", v.Interface())
	case reflect.Array:
		return array(name, v)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return one(strconv.FormatInt(v.Int(), 10))
	}
	n := v.Uint()
	switch {
	case raw == "TimeDateStamp" || raw == "CreateTime":
		return one(hexNumber(n) + " " + seconds(n))
	case strings.HasSuffix(raw, "Count") || strings.HasSuffix(raw, "Size") || raw == "SizeOfInfo" || raw == "Line":
		return one(strconv.FormatUint(n, 10))
	}
	return one(hexNumber(n))
}

// array is a list in a record: a text of UTF-16 units, bytes, or numbers of which
// those that are 0 at the end are left out.
func array(name string, v reflect.Value) []pair {
	switch v.Type().Elem().Kind() {
	case reflect.Uint16:
		units := make([]uint16, v.Len())
		for i := range units {
			units[i] = uint16(v.Index(i).Uint())
		}
		return []pair{{name, quoteUTF16(units)}}
	case reflect.Uint8:
		b := make([]byte, v.Len())
		reflect.Copy(reflect.ValueOf(b), v)
		return []pair{{name, hex.EncodeToString(b)}}
	}
	n := v.Len()
	for n > 0 && v.Index(n-1).IsZero() {
		n--
	}
	var list []pair
	for i := range n {
		list = append(list, field(fmt.Sprintf("%s[%d]", name, i), "", v.Index(i))...)
	}
	return list
}

func hexNumber(n uint64) string { return "0x" + strconv.FormatUint(n, 16) }

// snake is the name of a field as the headers of C spell it.
func snake(name string) string {
	var s strings.Builder
	letters := []rune(name)
	for i, r := range letters {
		if unicode.IsUpper(r) && i > 0 && (!unicode.IsUpper(letters[i-1]) || i+1 < len(letters) && unicode.IsLower(letters[i+1])) {
			s.WriteByte('_')
		}
		s.WriteRune(unicode.ToLower(r))
	}
	return s.String()
}

func guid(g format.GUID) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", g.Data1, g.Data2, g.Data3, g.Data4[:2], g.Data4[2:])
}

// quoteUTF16 is a text that ends with a zero, or with its room.
func quoteUTF16(units []uint16) string {
	for i, u := range units {
		if u == 0 {
			units = units[:i]
			break
		}
	}
	return strconv.Quote(string(utf16.Decode(units)))
}
