package main

import (
	"errors"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	vgdraw "gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// One figure is drawn above the other, over the same time.
const (
	width  = 16 * vg.Centimeter
	height = 3.5 * vg.Centimeter // of each
)

func drawn(samples []sample) (*vgsvg.Canvas, error) {
	rows := make([][]*plot.Plot, len(metrics))
	for i, m := range metrics {
		p := plot.New()
		p.Title.Text = m.title
		p.Y.Min = 0
		points := make(plotter.XYs, len(samples))
		for j, s := range samples {
			points[j].X, points[j].Y = s.At/60, s.Values[i]
			p.Y.Max = max(p.Y.Max, s.Values[i])
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return nil, err
		}
		p.Add(plotter.NewGrid(), line)
		rows[i] = []*plot.Plot{p}
	}
	rows[len(rows)-1][0].X.Label.Text = "minutes"
	canvas := vgsvg.New(width, height*vg.Length(len(metrics)))
	tiles := vgdraw.Tiles{Rows: len(rows), Cols: 1, PadY: vg.Millimeter}
	for i, row := range plot.Align(rows, tiles, vgdraw.New(canvas)) {
		rows[i][0].Draw(row[0])
	}
	return canvas, nil
}

// draw writes the graph to path, as SVG; to none where there is no path.
func draw(path string, samples []sample) error {
	if path == "" {
		return nil
	}
	canvas, err := drawn(samples)
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = canvas.WriteTo(f)
	return errors.Join(err, f.Close())
}
