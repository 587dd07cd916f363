package pull

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// state is what the state file holds: how far the records' file is good, and where the next page begins.
type state struct {
	Server string `json:"server"`
	Source
	place
	Records int64 `json:"records"`
	Bytes   int64 `json:"bytes"`
	Done    bool  `json:"done"`
}

// file is the file of records with its state.
type file struct {
	f     *os.File
	path  string // of the state
	since int64
	state state
}

// openFile begins a pull, or goes on with the one that the state tells of.
func openFile(o *Options) (*file, error) {
	f := &file{path: o.State, since: o.Since, state: state{Server: o.Server.String(), Source: o.Source, place: place{Time: o.Until}}}
	saved, err := os.ReadFile(o.State)
	begun := err == nil
	if begun {
		err = f.resume(saved)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the state of the pull: %w", err)
	}
	// Messages are private: the file is for its owner.
	if f.f, err = os.OpenFile(o.Output, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("open the file of records: %w", err)
	}
	if begun {
		err = f.cut()
	} else {
		err = f.begin()
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// begin takes an empty file, and saves the state before anything is written that it would have to tell of.
func (f *file) begin() error {
	info, err := f.f.Stat()
	if err != nil {
		return fmt.Errorf("look at the file of records: %w", err)
	}
	if info.Size() > 0 {
		return fmt.Errorf("%s holds something, and there is no %s that tells how far it is; name another file or remove it", f.f.Name(), f.path)
	}
	return f.save()
}

// resume takes over a saved state, if it is of the same pull.
func (f *file) resume(saved []byte) error {
	var s state
	if err := json.Unmarshal(saved, &s); err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	if s.Server != f.state.Server || s.Source != f.state.Source {
		return fmt.Errorf("%s is of another pull (%s, app %s); name another with --state, or say again what that one said", f.path, s.Server, s.App)
	}
	f.state = s
	return nil
}

// cut removes what the file has beyond its state: part of a page that was never finished.
func (f *file) cut() error {
	info, err := f.f.Stat()
	if err != nil {
		return fmt.Errorf("look at the file of records: %w", err)
	}
	if info.Size() < f.state.Bytes {
		return fmt.Errorf("%s is shorter than %s says; remove both and begin again", f.f.Name(), f.path)
	}
	if err := f.f.Truncate(f.state.Bytes); err != nil {
		return fmt.Errorf("cut the file of records: %w", err)
	}
	_, err = f.f.Seek(f.state.Bytes, io.SeekStart)
	return err
}

// add writes a page and then the state.
func (f *file) add(page []record) error {
	var lines bytes.Buffer
	next := f.state
	next.Done = len(page) == 0
	for _, r := range page {
		if r.Time < f.since {
			next.Done = true
			break
		}
		if err := json.Compact(&lines, r.raw); err != nil {
			return err
		}
		lines.WriteByte('\n')
		next.place = r.place
		next.Records++
	}
	if _, err := f.f.Write(lines.Bytes()); err != nil {
		return fmt.Errorf("write records: %w", err)
	}
	if err := f.f.Sync(); err != nil {
		return fmt.Errorf("write records: %w", err)
	}
	next.Bytes += int64(lines.Len())
	f.state = next
	return f.save()
}

// save replaces the state file as a whole.
func (f *file) save() error {
	text, err := json.Marshal(f.state)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(f.path), filepath.Base(f.path)+".*")
	if err != nil {
		return fmt.Errorf("write the state of the pull: %w", err)
	}
	_, err = temp.Write(append(text, '\n'))
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), f.path)
	}
	if err != nil {
		_ = os.Remove(temp.Name())
		return fmt.Errorf("write the state of the pull: %w", err)
	}
	return nil
}

func (f *file) progress() Progress {
	p := Progress{Records: f.state.Records}
	if f.state.Records > 0 {
		p.Oldest = time.UnixMilli(f.state.Time)
	}
	return p
}

func (f *file) close() { _ = f.f.Close() } // synced with each page
