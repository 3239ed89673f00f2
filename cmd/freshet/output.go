package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// The output forms.
const (
	formTable = "table"
	formJSON  = "json"
	formJSONL = "jsonl"
	formName  = "name"
)

// outputFlag adds -o.
func (c *cli) outputFlag(cmd *cobra.Command, forms ...string) {
	var form string
	cmd.Flags().StringVarP(&form, "output", "o", forms[0], "output form: "+strings.Join(forms, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(forms, cobra.ShellCompDirectiveNoFileComp))
	next := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if c.output = form; !slices.Contains(forms, form) {
			return usage(fmt.Errorf("-o %s: want one of: %s", form, strings.Join(forms, ", ")))
		}
		if next != nil {
			return next(cmd, args)
		}
		return nil
	}
}

// row is one thing to print, in each of the forms.
type row struct {
	name   string
	cells  []string
	object any
}

// printer prints rows as they come, or all at once where the form needs them all.
type printer struct {
	out    io.Writer
	form   string
	table  [][]string
	object []any
}

func (c *cli) printer(header ...string) *printer {
	return &printer{out: c.out, form: c.output, table: [][]string{header}}
}

func (p *printer) add(r row) error {
	switch p.form {
	case formName:
		_, err := fmt.Fprintln(p.out, r.name)
		return err
	case formJSONL:
		return json.NewEncoder(p.out).Encode(r.object)
	case formJSON:
		p.object = append(p.object, r.object)
		return nil
	default:
		p.table = append(p.table, r.cells)
		return nil
	}
}

// end prints what was kept back.
func (p *printer) end() error {
	switch p.form {
	case formJSON:
		if p.object == nil {
			p.object = []any{}
		}
		return printJSON(p.out, p.object)
	case formTable:
		return printTable(p.out, p.table)
	}
	return nil
}

// columnGap separates the columns of a table.
const columnGap = "  "

// printTable prints rows in aligned columns, without blanks at the ends of lines.
func printTable(out io.Writer, rows [][]string) error {
	var widths []int
	for _, cells := range rows {
		for i, cell := range cells {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var text strings.Builder
	for _, cells := range rows {
		line := ""
		for i, cell := range cells {
			line += fmt.Sprintf("%-*s", widths[i], cell) + columnGap
		}
		text.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	_, err := io.WriteString(out, text.String())
	return err
}

func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// relative writes an instant as people read it.
func relative(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := t.Sub(now).Round(time.Second)
	switch {
	case d == 0:
		return "now"
	case d < 0:
		return short(-d) + " ago"
	}
	return "in " + short(d)
}

// short writes a duration in its two largest units.
func short(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}
