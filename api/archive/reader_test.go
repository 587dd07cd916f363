package archive_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"kith/api/archive"
)

type read struct {
	Line int
	Data string
	Bad  bool
}

func readAll(t *testing.T, in io.Reader) (all []read) {
	t.Helper()
	r := archive.NewReader(in)
	for {
		raw, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, read{raw.Line, string(raw.Data), raw.Err != nil})
	}
}

func TestRecordsAreFoundInLinesAndArrays(t *testing.T) {
	long := `{"a":"` + strings.Repeat("x", archive.MaxRecord) + `"}`
	for name, test := range map[string]struct {
		in   string
		want []read
	}{
		"nothing":                  {"", nil},
		"lines":                    {"{\"a\":1}\n\n  {\"b\":2}\r\n{\"c\":3}", []read{{1, `{"a":1}`, false}, {3, `{"b":2}`, false}, {4, `{"c":3}`, false}}},
		"a line that is none":      {"{\"a\":\n{\"b\":2}\n", []read{{1, `{"a":`, false}, {2, `{"b":2}`, false}}},
		"remarks and a mark":       {"\ufeff#filetype:JSON-streaming {\"type\":\"Class\"}\n{\"a\":1}\n", []read{{2, `{"a":1}`, false}}},
		"an array":                 {`[{"a":1},{"b":"]}\"{"}]`, []read{{1, `{"a":1}`, false}, {1, `{"b":"]}\"{"}`, false}}},
		"an array over lines":      {"\n[\n {\n\"a\":[1]\n},\n{\"b\":2}\n]\n", []read{{3, "{\n\"a\":[1]\n}", false}, {6, `{"b":2}`, false}}},
		"an answer":                {"{ \"results\": [\n{\"a\":1}\n]}", []read{{2, `{"a":1}`, false}}},
		"an array that ends early": {`[{"a":1},{"b":`, []read{{1, `{"a":1}`, false}, {1, "", true}}},
		"an array of something":    {`[{"a":1},7,{"b":2}]`, []read{{1, `{"a":1}`, false}, {1, "", true}}},
		"a line too long":          {long + "\n{\"b\":2}\n", []read{{1, "", true}, {2, `{"b":2}`, false}}},
		"an element too long":      {"[" + long + ",\n{\"b\":2}]", []read{{1, "", true}, {2, `{"b":2}`, false}}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, readAll(t, strings.NewReader(test.in))); diff != "" {
				t.Errorf("at once (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.want, readAll(t, iotest.HalfReader(strings.NewReader(test.in)))); diff != "" {
				t.Errorf("in pieces (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAFailingStreamIsNoRecord(t *testing.T) {
	r := archive.NewReader(io.MultiReader(strings.NewReader("{\"a\":1}\n"), iotest.ErrReader(errors.New("cut"))))
	if _, err := r.Next(); !errors.Is(err, archive.ErrStream) {
		t.Errorf("the stream failed, Next says %v", err)
	}
}

// What is read never panics, and never is more than there was.
func FuzzRecords(f *testing.F) {
	for _, s := range []string{"", "{}", "[{}]", `{"results":[{"objectId":"x"}]}`, "{\"id\":\"\",\"ts\":1}\n", `{"msg-id":"a","timestamp":1,"data":""}`, "[[[", `["`, `{"type":"group"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		r := archive.NewReader(strings.NewReader(in))
		for range len(in) + 2 {
			raw, err := r.Next()
			if err != nil {
				return
			}
			if raw.Err == nil {
				_, _ = archive.Parse(raw.Data)
			}
		}
		t.Error("there are more records than bytes")
	})
}
