package bench

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
)

// WriteText tells the result to people.
func (r *Result) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(t, format, args...) } // Flush tells
	v := reflect.ValueOf(*r)
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		f := v.Field(i)
		if f.IsZero() && name != "connections_lost" {
			continue
		}
		switch x := f.Interface().(type) {
		case *Percentiles:
			line("%s\tp50 %g\tp90 %g\tp99 %g\tp99.9 %g\tmax %g\n", label(name), x.P50, x.P90, x.P99, x.P999, x.Max)
		case *Verdict:
			line("messages\tsent %s\tacked %s\tdue %s\tdelivered %s\n", thousands(x.Sent), thousands(x.Acked), thousands(x.Due), thousands(x.Delivered))
			line("\tlost %s\tduplicated %s\tout of order %s\trefused %s\n", thousands(x.Lost), thousands(x.Duplicated), thousands(x.OutOfOrder), thousands(x.Refused))
		case *int:
			line("%s\t%d\n", label(name), *x)
		case float64:
			if x >= 1000 {
				line("%s\t%s\n", label(name), thousands(int64(x)))
			} else {
				line("%s\t%g\n", label(name), x)
			}
		case int:
			line("%s\t%s\n", label(name), thousands(int64(x)))
		case int64:
			line("%s\t%s\n", label(name), thousands(x))
		case []string:
			for _, note := range x {
				line("note\t%s\n", note)
			}
		default:
			line("%s\t%v\n", label(name), x)
		}
	}
	return t.Flush()
}

func label(name string) string {
	name = strings.ReplaceAll(name, "_per_s", "/s")
	if base, ok := strings.CutSuffix(name, "_ms"); ok {
		name = base + ", ms"
	}
	return strings.ReplaceAll(name, "_", " ")
}
