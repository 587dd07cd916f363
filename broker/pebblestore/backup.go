package pebblestore

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"kith/broker"
)

// A backup is a tar file: the engine's files below store/, and behind them their sums in the form that sha256sum -c takes. The sums
// come last, so that what was cut short is not taken for whole.
const (
	backupFolder = "store/"
	backupSums   = "SHA256SUMS"
)

const (
	// checkpointFolder holds, below Config.Path, the files of a backup under way: links, so that it takes next to no space. It is emptied,
	// so its name is one that nobody gives a folder of their own.
	checkpointFolder = folder + ".backup"
	// maxSums bounds the sums of a backup, in bytes: some 200,000 files.
	maxSums = 16 << 20
)

// ErrBackupRuns says that another backup of the store is under way.
var ErrBackupRuns = broker.Errorf(broker.RateLimited, "another backup is under way; try again when it is done")

// Backup writes the store to w as it is at one moment of the call; all that was acknowledged before is in it. The store goes on
// meanwhile. What is removed or rewritten while w takes it in keeps its space until the end.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	if !s.backing.TryLock() {
		return ErrBackupRuns
	}
	defer s.backing.Unlock()
	folder := s.opts.FS.PathJoin(s.cfg.Path, checkpointFolder)
	if err := s.checkpoint(ctx, folder); err != nil {
		return fmt.Errorf("back up store: %w", err)
	}
	err := writeBackup(ctx, s.opts.FS, folder, w)
	if err = errors.Join(err, s.opts.FS.RemoveAll(folder)); err != nil {
		return fmt.Errorf("back up store: %w", err)
	}
	return nil
}

func (s *Store) checkpoint(ctx context.Context, folder string) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.reading.RUnlock()
	if err := s.failure(); err != nil {
		return err
	}
	if err := s.opts.FS.RemoveAll(folder); err != nil {
		return err
	}
	return s.db.Checkpoint(folder, pebble.WithFlushedWAL())
}

func writeBackup(ctx context.Context, fs vfs.FS, folder string, w io.Writer) error {
	names, err := fs.List(folder)
	if err != nil {
		return err
	}
	slices.Sort(names)
	out := tar.NewWriter(w)
	var sums bytes.Buffer
	for _, name := range names {
		sum, err := writeFile(ctx, out, fs, folder, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, backupFolder+name)
	}
	if err := out.WriteHeader(&tar.Header{Name: backupSums, Mode: 0o600, Size: int64(sums.Len())}); err != nil {
		return err
	}
	if _, err := out.Write(sums.Bytes()); err != nil {
		return err
	}
	return out.Close()
}

// writeFile adds a file and returns its sum.
func writeFile(ctx context.Context, out *tar.Writer, fs vfs.FS, folder, name string) (sum string, err error) {
	f, err := fs.Open(fs.PathJoin(folder, name))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if err := out.WriteHeader(&tar.Header{Name: backupFolder + name, Mode: 0o600, Size: info.Size(), ModTime: info.ModTime()}); err != nil {
		return "", err
	}
	hash := sha256.New()
	if _, err := io.Copy(io.MultiWriter(out, hash), whileContext{ctx, f}); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// whileContext reads until its context ends.
type whileContext struct {
	ctx context.Context //nolint:containedctx // of the copy at hand
	io.Reader
}

func (r whileContext) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(b)
}

var (
	errStoreThere = errors.New("there is a store already: move it away, or choose another store.path")
	errNoBackup   = errors.New("it is no backup of kith")
	errCutShort   = errors.New("the backup is not whole: its end, with the sums, is missing")
)

// Restore makes the store of a data folder that has none from what Backup wrote. The store is there only when all of it was read, is
// as the sums say, and is on the disk; then it is opened once, to prove that it can be.
func Restore(cfg Config, opts Options, r io.Reader) error {
	opts = opts.withDefaults()
	fs := opts.FS
	path, part := fs.PathJoin(cfg.Path, folder), fs.PathJoin(cfg.Path, folder+".part")
	if err := restore(fs, path, part, r); err != nil {
		return fmt.Errorf("restore %s: %w", path, errors.Join(err, fs.RemoveAll(part)))
	}
	s, err := Open(cfg, opts)
	if err != nil {
		return fmt.Errorf("restored, but: %w", err)
	}
	return s.Close()
}

func restore(fs vfs.FS, path, part string, r io.Reader) error {
	if _, err := fs.Stat(path); err == nil {
		return errStoreThere
	}
	if err := fs.RemoveAll(part); err != nil {
		return err
	}
	if err := makeFolder(fs, part); err != nil {
		return err
	}
	if err := readBackup(fs, part, r); err != nil {
		return err
	}
	if err := syncFolder(fs, part); err != nil {
		return err
	}
	if err := fs.Rename(part, path); err != nil {
		return err
	}
	return syncFolder(fs, fs.PathDir(path))
}

func readBackup(fs vfs.FS, folder string, r io.Reader) error {
	in := tar.NewReader(r)
	sums := map[string]string{}
	for {
		head, err := in.Next()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return errCutShort
		case err != nil:
			return fmt.Errorf("%w (%w)", errNoBackup, err)
		case head.Name == backupSums:
			return checkSums(in, sums)
		}
		name, ours := strings.CutPrefix(head.Name, backupFolder)
		if !ours || name == "" || strings.ContainsAny(name, `/\`) || head.Typeflag != tar.TypeReg {
			return fmt.Errorf("%w: it holds %q", errNoBackup, head.Name)
		}
		if sums[head.Name], err = readFile(fs, fs.PathJoin(folder, name), in); err != nil {
			return fmt.Errorf("%s: %w", head.Name, err)
		}
	}
}

// readFile writes a file to the disk and returns its sum.
func readFile(fs vfs.FS, path string, r io.Reader) (sum string, err error) {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	hash := sha256.New()
	if _, err := io.Copy(io.MultiWriter(hash, f), r); err != nil { // a vfs.File may change what it is given
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = errCutShort
		}
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), f.Sync()
}

// checkSums compares the sums of what was read with those that the backup ends with.
func checkSums(r io.Reader, sums map[string]string) error {
	text, err := io.ReadAll(io.LimitReader(r, maxSums))
	if err != nil {
		return errCutShort
	}
	for line := range strings.Lines(string(text)) {
		sum, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if sums[name] != sum {
			return fmt.Errorf("the backup is damaged: %s is not what it was", name)
		}
		delete(sums, name)
	}
	for name := range sums {
		return fmt.Errorf("the backup is damaged: it says nothing of %s", name)
	}
	return nil
}
