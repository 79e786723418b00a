package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strconv"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/cache"
)

// CompiledPrefix is where compiled symbols lie in the bucket, by the version of
// their format: compiled/1/FILE/ID/FILE.sym/TAG.
const CompiledPrefix = "compiled/"

// Shared leaves compiled symbols in the bucket, so that each text is compiled
// by one node and not by all. Nothing is lost when the objects are deleted.
func (s *Bucket) Shared() *cache.Shared {
	return &cache.Shared{Load: s.loadCompiled, Save: s.saveCompiled}
}

// compiledKeys are the folder of a module's compiled symbols and the key of
// those that were made of the text with a tag.
func compiledKeys(id symbols.ModuleID, tag string) (folder, key string, ok bool) {
	path, ok := id.Path()
	sum := sha256.Sum256([]byte(tag))
	folder = CompiledPrefix + strconv.Itoa(cache.Version) + "/" + path + "/"
	return folder, folder + hex.EncodeToString(sum[:16]), ok
}

func (s *Bucket) loadCompiled(ctx context.Context, id symbols.ModuleID, tag string) (io.ReadCloser, error) {
	_, key, ok := compiledKeys(id, tag)
	if !ok {
		return nil, fault.New(fault.NotFound, "no compiled symbols of %s %s", id.DebugFile, id.DebugID)
	}
	r, err := s.bucket.NewReader(ctx, key, nil)
	switch {
	case gcerrors.Code(err) == gcerrors.NotFound:
		return nil, fault.New(fault.NotFound, "no compiled symbols %s", key)
	case err != nil:
		return nil, fault.As(fault.Unavailable, err, "compiled symbols %s", key)
	}
	return r, nil
}

// saveCompiled writes compiled symbols and removes those of older texts.
func (s *Bucket) saveCompiled(ctx context.Context, id symbols.ModuleID, tag string, r io.Reader) error {
	folder, key, ok := compiledKeys(id, tag)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a writer that is not closed leaves nothing
	w, err := s.bucket.NewWriter(ctx, key, &blob.WriterOptions{ContentType: "application/octet-stream"})
	if err != nil {
		return fault.As(fault.Unavailable, err, "compiled symbols %s", key)
	}
	if _, err := io.Copy(w, r); err != nil {
		cancel()
		w.Close()
		return fault.As(fault.Unavailable, err, "compiled symbols %s", key)
	}
	if err := w.Close(); err != nil {
		return fault.As(fault.Unavailable, err, "compiled symbols %s", key)
	}
	list := s.bucket.List(&blob.ListOptions{Prefix: folder})
	for {
		o, err := list.Next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fault.As(fault.Unavailable, err, "list %s", folder)
		}
		if o.Key == key {
			continue
		}
		if err := s.bucket.Delete(ctx, o.Key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
			return fault.As(fault.Unavailable, err, "delete %s", o.Key)
		}
	}
}
