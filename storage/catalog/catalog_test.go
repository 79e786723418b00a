package catalog_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayday/app/fault"
	"mayday/storage/catalog"
)

func open(t *testing.T) *catalog.DB {
	t.Helper()
	db, err := catalog.Open(t.Context(), filepath.Join(t.TempDir(), "a?b #.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestUsers(t *testing.T) {
	db, ctx := open(t), t.Context()
	if _, err := db.AddUser(ctx, "Ann@Example.com", catalog.Permissions{catalog.ViewPII}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.AddUser(ctx, "ann@example.com", catalog.Permissions{catalog.ViewRawDump}); err != nil {
		t.Fatal(err)
	}
	u, err := db.User(ctx, "ANN@example.com")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(catalog.Permissions{catalog.ViewPII, catalog.ViewRawDump}, u.Permissions); diff != "" {
		t.Errorf("permissions (-want +got):\n%s", diff)
	}
	if err := db.Grant(ctx, "ann@example.com", nil); err != nil {
		t.Fatal(err)
	}
	us, err := db.Users(ctx)
	if err != nil || len(us) != 1 || len(us[0].Permissions) != 0 {
		t.Errorf("users = %v, %v", us, err)
	}
	for _, bad := range []string{"", "ann", "Ann <ann@example.com>", "a@b\r\nc"} {
		if _, err := db.AddUser(ctx, bad, nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("AddUser(%q) = %v, want an error of kind Invalid", bad, err)
		}
	}
	if _, err := db.User(ctx, "bob@example.com"); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown user: %v", err)
	}
}

func TestTokens(t *testing.T) {
	db, ctx := open(t), t.Context()
	if _, err := db.AddUser(ctx, "ann@example.com", catalog.Permissions{catalog.ViewPII}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		in   catalog.NewToken
		want catalog.Permissions
	}{
		{"cut to its owner's", catalog.NewToken{Permissions: catalog.Permissions{catalog.ViewPII, catalog.ViewRawDump}}, catalog.Permissions{catalog.ViewPII}},
		{"an operator's is not", catalog.NewToken{Permissions: catalog.Permissions{catalog.UploadSymbols}, Operator: true}, catalog.Permissions{catalog.UploadSymbols}},
		{"with a given key", catalog.NewToken{Key: "0123456789abcdef0123456789abcdef"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.in.User = "ann@example.com"
			key, err := db.CreateToken(ctx, c.in)
			if err != nil {
				t.Fatal(err)
			}
			if c.in.Key != "" && key != c.in.Key {
				t.Errorf("key = %s", key)
			}
			got, err := db.Token(ctx, key)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got.Permissions); diff != "" {
				t.Errorf("permissions (-want +got):\n%s", diff)
			}
		})
	}
	old, err := db.CreateToken(ctx, catalog.NewToken{User: "ann@example.com", Life: -time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{old: "API Token found but expired", "feed": "API Token not matched"} {
		if _, err := db.Token(ctx, key); !fault.Is(err, fault.Forbidden) || err.Error() != want {
			t.Errorf("Token(%s) = %v, want %s", key, err, want)
		}
	}
	if _, err := db.CreateToken(ctx, catalog.NewToken{User: "ann@example.com", Key: "short"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("short key: %v", err)
	}
	u, _ := db.User(ctx, "ann@example.com")
	list, err := db.Tokens(ctx, u.ID)
	if err != nil || len(list) != 4 {
		t.Fatalf("%d tokens, %v", len(list), err)
	}
	if err := db.DeleteToken(ctx, u.ID, list[0].ID); err != nil {
		t.Error(err)
	}
	if err := db.DeleteToken(ctx, u.ID, list[0].ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("second delete: %v", err)
	}
}

func TestLinkWorksOnce(t *testing.T) {
	db, ctx := open(t), t.Context()
	if _, err := db.AddUser(ctx, "ann@example.com", catalog.Permissions{catalog.Admin}); err != nil {
		t.Fatal(err)
	}
	key, err := db.CreateLink(ctx, "ann@example.com")
	if err != nil {
		t.Fatal(err)
	}
	u, err := db.UseLink(ctx, key)
	if err != nil || !u.Permissions.Has(catalog.ViewPII) {
		t.Errorf("first use: %v, %v", u, err)
	}
	if _, err := db.UseLink(ctx, key); !fault.Is(err, fault.Forbidden) {
		t.Errorf("second use: %v", err)
	}
}

func TestFirstSeenKeepsTheEarliest(t *testing.T) {
	db, ctx := open(t), t.Context()
	day := func(d int) time.Time { return time.Date(2026, 5, d, 0, 0, 0, 0, time.UTC) }
	for _, s := range []catalog.FirstSeen{
		{"sig", "20260502", day(5)}, {"sig", "20260501", day(7)}, {"sig", "20260503", day(4)}, {"sig", "", day(9)},
	} {
		if err := db.RecordSeen(ctx, []catalog.FirstSeen{s}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := db.FirstSeen(ctx, []string{"sig", "other"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]catalog.FirstSeen{{"sig", "20260501", day(4)}}, got); diff != "" {
		t.Errorf("first seen (-want +got):\n%s", diff)
	}
}

func TestPermissionsAreKnown(t *testing.T) {
	if _, err := catalog.ParsePermissions("view_pii, fly"); !fault.Is(err, fault.Invalid) {
		t.Errorf("unknown permission: %v", err)
	}
	got, err := catalog.ParsePermissions(" view_pii,,admin,view_pii")
	if err != nil || got.String() != "view_pii,admin" {
		t.Errorf("got %v, %v", got, err)
	}
}
