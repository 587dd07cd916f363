package configs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// parse sets the value at ptr from text: a YAML scalar, an environment variable or a flag. bad says what was expected,
// without the text, which may be a secret.
func parse(ptr any, text string) (bad string) {
	switch p := ptr.(type) {
	case *string:
		*p = text
	case *bool:
		switch text {
		case "true", "false":
			*p = text == "true"
		default:
			return "true or false expected"
		}
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return "a whole number expected"
		}
		*p = n
	case *float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || f != f { // not NaN
			return "a number expected"
		}
		*p = f
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return "a duration expected, such as 6h, 90s or 0s"
		}
		*p = d
	case *[]string:
		*p = nil
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				*p = append(*p, item)
			}
		}
	case reserved:
		if text != "" {
			return "not part of this version: leave it empty"
		}
	}
	return ""
}

// format is the inverse of parse.
func format(ptr any) string {
	switch p := ptr.(type) {
	case *string:
		return *p
	case *time.Duration:
		return formatDuration(*p)
	case *[]string:
		return strings.Join(*p, ",")
	case *bool:
		return strconv.FormatBool(*p)
	case *int:
		return strconv.Itoa(*p)
	case *float64:
		return strconv.FormatFloat(*p, 'f', -1, 64)
	default:
		return ""
	}
}

// formatDuration writes 6h rather than 6h0m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// quote shows a value in a problem; long ones are cut.
func quote(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return strconv.Quote(s)
}

// nearest returns the candidate that s was most likely meant to be, or "".
func nearest(s string, candidates []string) string {
	best, bestDistance := "", 1+len(s)/3
	for _, c := range candidates {
		if d := distance(s, c); d < bestDistance || d == bestDistance && best == "" {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the number of bytes to insert, delete or replace to make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(row[j]+1, row[j+1]+1, diagonal+cost)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}

func orList(items []string) string {
	if len(items) < 2 {
		return strings.Join(items, "")
	}
	items = slices.Clone(items)
	last := len(items) - 1
	return fmt.Sprintf("%s or %s", strings.Join(items[:last], ", "), items[last])
}
