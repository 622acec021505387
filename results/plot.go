// SPDX-License-Identifier: Apache-2.0

package results

import "unicode/utf8"

// plot is a picture of an overhead: a group of bars for each path, in it a bar for each kernel, or the other way round. A bar
// is as long as the part of the path that the driver adds. The template draws it; no text in it is trusted.
type plot struct {
	overhead
	ByKernel      bool
	Width, Height int
	Axis          int // x of the bars' start
	PathX         int // x of the end of the paths' names
	Groups        []plotGroup
	Legend        []plotLegend
}

type plotGroup struct {
	Path   string
	Kernel string // instead of a path; its bars name theirs
	Y      int    // of the label's baseline
	Bars   []plotBar
}

type plotBar struct {
	Path          string // where the group is a kernel's
	Series        int
	Y, Height     int
	Length, TextX float64
	TextY         int
	Text          string
}

type plotLegend struct {
	Series int
	Kernel string
	Top    int // of the square
	TextX  int
	Y      int // of the text's baseline
}

const (
	plotBarHeight = 12
	plotGap       = 10
	plotAxis      = 92
	plotLongest   = 420.0
	plotSeries    = 6 // colours that the style sheet has
)

// plotOf lays out the picture.
func plotOf(o overhead) plot {
	p := plot{overhead: o, Axis: plotAxis, PathX: plotAxis - 8}
	most := o.most()
	y := 0
	for i, k := range o.Kernels {
		p.Legend = append(p.Legend, plotLegend{i % plotSeries, k, y, plotAxis + 16, y + plotBarHeight - 3})
		y += plotBarHeight + 4
	}
	y += plotGap
	widest := 0
	for _, path := range o.Paths {
		g := plotGroup{Path: path.Path, Y: y + plotBarHeight - 2}
		for i, c := range path.Costs {
			if c == nil {
				continue
			}
			b := barOf(c, i, y, most)
			widest = max(widest, utf8.RuneCountInString(b.Text))
			g.Bars = append(g.Bars, b)
			y += plotBarHeight
		}
		y += plotGap
		p.Groups = append(p.Groups, g)
	}
	p.Width, p.Height = plotAxis+int(plotLongest)+8+8*widest, y
	return p
}

// plotByKernel lays out the same figures kernel by kernel, which shows how a driver's cost goes from one line of kernels to
// the next. A kernel has the colour that it has in the other picture.
func plotByKernel(o overhead) plot {
	p := plot{overhead: o, ByKernel: true, Axis: plotAxis, PathX: plotAxis - 8}
	most := o.most()
	y, widest := 0, 0
	for i, k := range o.Kernels {
		y += plotBarHeight
		g := plotGroup{Kernel: k, Y: y}
		y += plotBarHeight / 2
		for _, path := range o.Paths {
			if c := path.Costs[i]; c != nil {
				b := barOf(c, i, y, most)
				b.Path = path.Path
				widest = max(widest, utf8.RuneCountInString(b.Text))
				g.Bars = append(g.Bars, b)
				y += plotBarHeight
			}
		}
		y += plotGap
		p.Groups = append(p.Groups, g)
	}
	p.Width, p.Height = plotAxis+int(plotLongest)+8+8*widest, y
	return p
}

// most is the largest part of a path that is added to one.
func (o overhead) most() float64 {
	most := 0.0
	for _, path := range o.Paths {
		for _, c := range path.Costs {
			most = max(most, share(c))
		}
	}
	return most
}

// barOf is the bar of a cost on the i-th kernel, at a height.
func barOf(c *Perf, i, y int, most float64) plotBar {
	b := plotBar{Series: i % plotSeries, Y: y, Height: plotBarHeight - 2, TextY: y + plotBarHeight - 3, Text: costText(c)}
	if most > 0 {
		b.Length = plotLongest * max(0, share(c)) / most
	}
	b.TextX = plotAxis + b.Length + 6
	return b
}

// share is the part of the path without the driver that it adds.
func share(p *Perf) float64 {
	if p == nil || p.Baseline <= 0 {
		return 0
	}
	return p.Added() / p.Baseline
}
