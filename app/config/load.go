package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"mayday/app/fault"
)

// EnvPrefix starts the name of each environment variable that is read.
const EnvPrefix = "MAYDAY_"

// maxFile is the largest configuration file that is read; a real one has a few kilobytes.
const maxFile = 8 << 20

// Setting is one leaf of Config.
type Setting struct {
	Path    string   // as in YAML, dots between levels
	Doc     string   // what it means
	Default string   // as text
	Type    string   // text, list, yes or no, number, duration, size, or "file only" for lists of structs
	Source  string   // "default", the file, or the variable or flag that set it
	Choices []string // the only values allowed; nil allows all
	Secret  bool     // never printed
	value   reflect.Value
}

// FileOnly reports whether s can be set in the configuration file alone.
func (s *Setting) FileOnly() bool { return s.Type == typeFileOnly }

// Env is the environment variable that sets s.
func (s *Setting) Env() string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(s.Path, ".", "_"))
}

// Flag is the name of the command line flag that sets s, without dashes before it.
func (s *Setting) Flag() string { return strings.ReplaceAll(s.Path, "_", "-") }

// String is the value as `mayday config` prints it; secrets show as "(set)".
func (s *Setting) String() string {
	if s.Secret && !s.value.IsZero() {
		return "(set)"
	}
	switch v := s.value.Interface().(type) {
	case []string:
		return strings.Join(v, ",")
	case fmt.Stringer:
		return v.String()
	default:
		if s.FileOnly() {
			return fmt.Sprintf("%d rows", s.value.Len())
		}
		return fmt.Sprint(v)
	}
}

const typeFileOnly = "file only"

func typeName(v reflect.Value) string {
	switch v.Interface().(type) {
	case string:
		return "text"
	case []string:
		return "list"
	case bool:
		return "yes or no"
	case int, int64, float64:
		return "number"
	case time.Duration:
		return "duration"
	case Bytes:
		return "size"
	}
	return typeFileOnly
}

func (s *Setting) set(text, source string) error {
	var err error
	switch p := s.value.Addr().Interface().(type) {
	case *string:
		*p = text
	case *[]string:
		*p = nil
		for _, part := range strings.Split(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				*p = append(*p, part)
			}
		}
	case *bool:
		*p, err = strconv.ParseBool(text)
	case *int:
		*p, err = strconv.Atoi(text)
	case *int64:
		*p, err = strconv.ParseInt(text, 10, 64)
	case *float64:
		*p, err = strconv.ParseFloat(text, 64)
	case *time.Duration:
		*p, err = time.ParseDuration(text)
	case *Bytes:
		*p, err = ParseBytes(text)
	default:
		return fmt.Errorf("%s (%s): can be set in the configuration file alone", s.Path, source)
	}
	if err != nil {
		return fmt.Errorf("%s (%s): %q is no %s", s.Path, source, text, s.Type)
	}
	s.Source = source
	return nil
}

// Settings lists the leaves of c in the order of their declaration.
func (c *Config) Settings() []*Setting { return leaves(reflect.ValueOf(c).Elem(), "") }

func leaves(v reflect.Value, path string) (out []*Setting) {
	for i := range v.NumField() {
		f, t := v.Field(i), v.Type().Field(i)
		name := path + t.Tag.Get("yaml")
		if f.Kind() == reflect.Struct {
			out = append(out, leaves(f, name+".")...)
			continue
		}
		s := &Setting{Path: name, Doc: t.Tag.Get("doc"), Default: t.Tag.Get("default"), Source: "default",
			Type: typeName(f), Secret: t.Tag.Get("secret") == "true", value: f}
		if choices, ok := t.Tag.Lookup("choices"); ok {
			s.Choices = strings.Split(choices, "|")
		}
		out = append(out, s)
	}
	return out
}

// Loaded is a configuration and where each of its values came from.
type Loaded struct {
	*Config
	Settings []*Setting
	File     string   // "" when there is none
	Warnings []string // such as environment variables that set nothing
}

// Load reads the defaults, then file (none when ""), then environ (as
// os.Environ gives it), then flags; later ones win. All that is wrong is
// reported at once, in an error of kind Invalid.
func Load(file string, environ []string, flag func(*Setting) (string, bool)) (*Loaded, error) {
	c := &Config{}
	l := &Loaded{Config: c, Settings: c.Settings(), File: file}
	var errs []error
	for _, s := range l.Settings {
		if s.Default != "" {
			errs = append(errs, s.set(s.Default, "default"))
		}
	}
	if file != "" {
		errs = append(errs, l.readFile(file))
	}
	errs = append(errs, l.readEnv(environ)...)
	for _, s := range l.Settings {
		if v, ok := flag(s); ok {
			errs = append(errs, s.set(v, "flag --"+s.Flag()))
		}
	}
	errs = append(errs, l.check()...)
	if err := errors.Join(errs...); err != nil {
		return nil, fault.As(fault.Invalid, err, "configuration")
	}
	return l, nil
}

func (l *Loaded) readFile(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return err
	}
	if len(text) > maxFile {
		return fmt.Errorf("%s: larger than %s", file, Bytes(maxFile))
	}
	var tree yaml.Node
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(l.Config); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", file, err)
	}
	named := map[string]bool{}
	if len(tree.Content) > 0 {
		paths(tree.Content[0], "", named)
	}
	for _, s := range l.Settings {
		if named[s.Path] {
			s.Source = file
		}
	}
	return nil
}

// paths collects the path of each key below n. A file holds few levels: the
// depth is that of Config, anything deeper belongs to a leaf.
func paths(n *yaml.Node, prefix string, into map[string]bool) {
	if n.Kind != yaml.MappingNode || strings.Count(prefix, ".") > 4 {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		path := prefix + n.Content[i].Value
		into[path] = true
		paths(n.Content[i+1], path+".", into)
	}
}

// readEnv applies the variables that name a setting. Unknown ones only warn:
// orchestrators inject names such as MAYDAY_PORT by themselves.
func (l *Loaded) readEnv(environ []string) (errs []error) {
	env := map[string]string{}
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(k, EnvPrefix) {
			env[k] = v
		}
	}
	for _, s := range l.Settings {
		if v, ok := env[s.Env()]; ok {
			errs = append(errs, s.set(v, "env "+s.Env()))
			delete(env, s.Env())
		}
	}
	for k := range env {
		l.Warnings = append(l.Warnings, fmt.Sprintf("environment variable %s sets nothing", k))
	}
	slices.Sort(l.Warnings)
	return errs
}

func (l *Loaded) check() (errs []error) {
	for _, s := range l.Settings {
		if s.Choices != nil && !slices.Contains(s.Choices, s.value.String()) {
			errs = append(errs, fmt.Errorf("%s (%s): %q is none of %s", s.Path, s.Source, s.value.String(), strings.Join(s.Choices, ", ")))
		}
	}
	return append(errs, l.Config.Validate())
}
