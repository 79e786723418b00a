package catalog

import (
	"slices"
	"strings"

	"mayday/app/fault"
)

// Permission is a right that a user or token may have.
type Permission string

// The permissions.
const (
	ViewPII          Permission = "view_pii"
	ViewRawDump      Permission = "view_rawdump"
	ReprocessCrashes Permission = "reprocess_crashes"
	RunCustomQueries Permission = "run_custom_queries"
	UploadSymbols    Permission = "upload_symbols"
	UploadTrySymbols Permission = "upload_try_symbols"
	ViewAllUploads   Permission = "view_all_uploads"
	ManageTokens     Permission = "manage_tokens"
	Admin            Permission = "admin"
)

// PermissionRow is a permission with the words people see.
type PermissionRow struct {
	Name  Permission
	Title string
	Doc   string
}

// AllPermissions lists the permissions with their titles.
func AllPermissions() []PermissionRow {
	return []PermissionRow{
		{ViewPII, "View Personal Identifiable Information", "Read protected fields of crashes."},
		{ViewRawDump, "View Raw Dumps", "Download minidumps and attachments."},
		{ReprocessCrashes, "Reprocess Crashes", "Have crashes processed again."},
		{RunCustomQueries, "Run Custom Queries in Super Search", "See the plan of a query."},
		{UploadSymbols, "Upload Symbols", "Upload symbol files that everybody gets."},
		{UploadTrySymbols, "Upload Try Symbols", "Upload symbol files of trial builds, kept for a short time."},
		{ViewAllUploads, "View All Symbols Uploads", "See the uploads of other people."},
		{ManageTokens, "Manage API Tokens", "Make and delete API tokens in the web interface."},
		{Admin, "Administer", "Everything, including users and jobs."},
	}
}

// Permissions is a set of permissions.
type Permissions []Permission

// ParsePermissions reads a comma-separated list; unknown names are an error of
// kind Invalid.
func ParsePermissions(text string) (Permissions, error) {
	var out Permissions
	for _, name := range strings.Split(text, ",") {
		p := Permission(strings.TrimSpace(name))
		if p == "" {
			continue
		}
		if !slices.ContainsFunc(AllPermissions(), func(r PermissionRow) bool { return r.Name == p }) {
			return nil, fault.New(fault.Invalid, "no permission %q; there are %s", p, allNames())
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out, nil
}

func allNames() string {
	var names Permissions
	for _, r := range AllPermissions() {
		names = append(names, r.Name)
	}
	return names.String()
}

// String is the comma-separated list.
func (ps Permissions) String() string {
	names := make([]string, len(ps))
	for i, p := range ps {
		names[i] = string(p)
	}
	return strings.Join(names, ",")
}

// Has reports whether the set holds p; Admin holds all.
func (ps Permissions) Has(p Permission) bool {
	return slices.Contains(ps, p) || slices.Contains(ps, Admin)
}

// And keeps the permissions that other has too.
func (ps Permissions) And(other Permissions) Permissions {
	var out Permissions
	for _, p := range ps {
		if other.Has(p) {
			out = append(out, p)
		}
	}
	return out
}

// stored reads what the catalog itself wrote; a name that a later version
// removed is dropped.
func stored(text string) Permissions {
	var out Permissions
	for _, name := range strings.Split(text, ",") {
		if ps, err := ParsePermissions(name); err == nil {
			out = append(out, ps...)
		}
	}
	return out
}
