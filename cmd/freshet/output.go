package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

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
			return usage(fmt.Errorf("-o %s: want %s", form, strings.Join(forms, ", ")))
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
	table  *tabwriter.Writer
	object []any
}

func (c *cli) printer(header ...string) *printer {
	p := &printer{out: c.out, form: c.output}
	if p.form == formTable {
		p.table = tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(p.table, strings.Join(header, "\t"))
	}
	return p
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
		_, err := fmt.Fprintln(p.table, strings.Join(r.cells, "\t"))
		return err
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
		return p.table.Flush()
	}
	return nil
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
	if d < 0 {
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
