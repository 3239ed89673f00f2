package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/provider/catalogue"
)

// listPresets prints the catalogue.
func (c *cli) listPresets() error {
	p := c.printer("PRESET", "PROVIDER", "ROTATION", "AUTH", "PARAMS")
	for _, preset := range catalogue.All() {
		var params []string
		for _, param := range preset.Params {
			text := param.Name
			if param.Default != "" {
				text += "=" + param.Default
			}
			params = append(params, text)
		}
		d := preset.Definition
		if err := p.add(row{
			name: preset.Name, object: preset,
			cells: []string{
				preset.Name, preset.Title, cmp.Or(string(d.Rotation), "undocumented"), string(d.AuthStyle), cmp.Or(strings.Join(params, " "), "-"),
			},
		}); err != nil {
			return err
		}
	}
	return p.end()
}

func presetNames() []string {
	var names []string
	for _, p := range catalogue.All() {
		names = append(names, p.Name)
	}
	return names
}

func (c *cli) showPreset(name string) error {
	p, ok := catalogue.Find(name)
	if !ok {
		return fmt.Errorf("%w: there is no preset %q; known are %s", broker.ErrUnknownProvider, name, strings.Join(presetNames(), ", "))
	}
	return printJSON(c.out, p)
}
