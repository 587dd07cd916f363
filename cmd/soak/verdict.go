package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"text/tabwriter"

	"gonum.org/v1/gonum/stat"
)

// verdict is what became of a figure in the second half of a run.
type verdict struct {
	Metric string  `json:"metric"`
	Mean   float64 `json:"mean"`
	Rise   float64 `json:"rise"` // over the second half, along the line through its samples
	Flat   bool    `json:"flat"`
}

// judge judges metric i by the second half of the samples.
func judge(i int, samples []sample) verdict {
	half := samples[len(samples)/2:]
	var at, values []float64
	for _, s := range half {
		at, values = append(at, s.At), append(values, s.Values[i])
	}
	m := metrics[i]
	_, slope := stat.LinearRegression(at, values, nil, false)
	v := verdict{Metric: m.key, Mean: stat.Mean(values, nil), Rise: slope * (at[len(at)-1] - at[0])}
	v.Flat = v.Rise <= max(m.grows*v.Mean, m.least)
	return v
}

// fewest is how many samples a verdict takes.
const fewest = 8

// conclude writes what was asked for and judges.
func conclude(o *options, samples []sample, rounds int64) error {
	if len(samples) < fewest {
		return fmt.Errorf("only %d samples: soak for longer", len(samples))
	}
	var verdicts []verdict
	var rising []error
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintf(t, "figure\tmean\trise\tflat\t\n") // into memory
	for i, m := range metrics {
		v := judge(i, samples)
		verdicts = append(verdicts, v)
		_, _ = fmt.Fprintf(t, "%s\t%.1f\t%+.1f\t%t\t\n", m.title, v.Mean, v.Rise, v.Flat) // as above
		if !v.Flat {
			rising = append(rising, fmt.Errorf("%s rises: %+.1f over the second half, mean %.1f", m.title, v.Rise, v.Mean))
		}
	}
	err := errors.Join(t.Flush(), writeCSV(o.csv, samples), writeJSON(o, samples, verdicts, rounds), draw(o.svg, samples))
	fmt.Printf("%d samples of the second half, %d rounds; nothing lost, duplicated or out of order\n", len(samples)-len(samples)/2, rounds)
	return errors.Join(append(rising, err)...)
}

func writeCSV(path string, samples []sample) error {
	if path == "" {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := csv.NewWriter(f)
	row := []string{"at_s"}
	for _, m := range metrics {
		row = append(row, m.key)
	}
	err = w.Write(row)
	for _, s := range samples {
		row = []string{number(s.At)}
		for _, v := range s.Values {
			row = append(row, number(v))
		}
		err = errors.Join(err, w.Write(row))
	}
	w.Flush()
	return errors.Join(err, w.Error(), f.Close())
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', 3, 64) }

func writeJSON(o *options, samples []sample, verdicts []verdict, rounds int64) error {
	if o.json == "" {
		return nil
	}
	var columns []string
	for _, m := range metrics {
		columns = append(columns, m.key)
	}
	text, err := json.Marshal(struct {
		Time     string    `json:"time"`
		Rate     float64   `json:"rate"`
		Rounds   int64     `json:"rounds"`
		Verdicts []verdict `json:"verdicts"`
		Columns  []string  `json:"columns"`
		Samples  []sample  `json:"samples"`
	}{o.time.String(), o.rate, rounds, verdicts, columns, samples})
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(text, '\n'), 0o600)
}
