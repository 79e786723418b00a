package client

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"mayday/app/command"
	"mayday/storage/search/remote"
)

const searchHelp = "Any field is a flag: --product=Firefox --signature='~foo' --date='>=-3d'. Control parameters of the API\n" +
	"are as well: --_columns=uuid --_sort=-date --_facets=product --_aggs.product=version.\n" +
	"Own flags: --host=URL (default http://127.0.0.1:8000), --format=table|tab|csv|json|markdown, --supersearch-url=URL\n" +
	"takes the parameters of a search page. The API token comes from MAYDAY_API_TOKEN or CRASHSTATS_API_TOKEN.\n"

// SuperSearch is the command supersearch: prints the crashes of a search.
func SuperSearch() *cli.Command {
	return &cli.Command{
		Name: "supersearch", Usage: "print the crashes that match a Super Search", SkipFlagParsing: true,
		Description: searchHelp + "--num=N|all says how many crashes, --headers prints column names above tab and csv. Exit codes: 0 done,\n" +
			"1 the host refuses or does not answer, 2 usage.",
		Action: superSearch,
	}
}

// SuperSearchFacet is the command supersearchfacet: prints counts by a field, or by day.
func SuperSearchFacet() *cli.Command {
	return &cli.Command{
		Name: "supersearchfacet", Usage: "print the aggregations of a Super Search", SkipFlagParsing: true,
		Description: searchHelp + "--start-date=D, --end-date=D (days, both included) and --relative-range=7d choose the dates when --date does not;\n" +
			"--leftover-count adds what is in no bucket; --format=raw prints the answer as it comes.",
		Action: superSearchFacet,
	}
}

// searchArgs splits the arguments: own flags, and parameters of the API. Names
// hold no dashes, so a dash is an underscore.
func searchArgs(c *cli.Context, own ...string) (flags map[string]string, values url.Values, err error) {
	flags, values = map[string]string{"host": "http://127.0.0.1:8000", "format": ""}, url.Values{}
	known := map[string]bool{"host": true, "format": true, "supersearch_url": true, "headers": true}
	for _, o := range own {
		known[o] = true
	}
	args := c.Args().Slice()
	for i := 0; i < len(args); i++ {
		name, value, has := strings.Cut(args[i], "=")
		bare, dashed := strings.CutPrefix(name, "--")
		if bare = strings.ReplaceAll(bare, "-", "_"); !dashed && !has || bare == "" {
			return nil, nil, command.Usage("%q is no --name=value", args[i])
		}
		if !has && i+1 < len(args) && bare != "headers" && bare != "leftover_count" {
			i++
			value = args[i]
		} else if !has {
			value = "true"
		}
		if known[bare] {
			flags[bare] = value
		} else {
			values.Add(bare, value)
		}
	}
	if page := flags["supersearch_url"]; page != "" {
		u, err := url.Parse(page)
		if err != nil {
			return nil, nil, command.AsUsage(err)
		}
		q := u.Query()
		q.Del("page")
		for name, list := range q {
			if !values.Has(name) {
				values[name] = list
			}
		}
	}
	return flags, values, nil
}

func searchClient(c *cli.Context, host string) *remote.Client {
	token := ""
	for _, name := range []string{"CRASHSTATS_API_TOKEN", "MAYDAY_API_TOKEN"} {
		for _, line := range command.Environ(c) {
			if v, ok := strings.CutPrefix(line, name+"="); ok && v != "" {
				token = v
			}
		}
	}
	return &remote.Client{Base: host, Token: token, HTTP: &http.Client{Timeout: time.Minute}, Agent: "mayday/" + command.Version().Version}
}

func wantsHelp(c *cli.Context) bool {
	for _, a := range c.Args().Slice() {
		if a == "--help" || a == "-h" {
			return true
		}
	}
	return false
}

func superSearch(c *cli.Context) error {
	if wantsHelp(c) {
		return cli.ShowCommandHelp(c, c.Command.Name)
	}
	flags, values, err := searchArgs(c, "num")
	if err != nil {
		return err
	}
	format := flags["format"]
	if format == "" {
		format = "tab"
	}
	if err := remote.CheckFormat(format); err != nil {
		return command.AsUsage(err)
	}
	most := 100
	switch n := flags["num"]; n {
	case "":
	case "all":
		most = math.MaxInt
	default:
		if most, err = strconv.Atoi(n); err != nil || most < 0 {
			return command.Usage("--num %q is neither a number nor all", n)
		}
	}
	if !values.Has("_columns") {
		values.Set("_columns", "uuid")
	}
	if !values.Has("_sort") && !values.Has("date") {
		values.Set("_sort", "-date")
	}
	client := searchClient(c, flags["host"])
	if values.Has("_return_query") {
		body, err := client.Raw(c.Context, values)
		if err == nil {
			_, err = fmt.Fprintln(c.App.Writer, string(body))
		}
		return err
	}
	// Lines are printed as they come; the forms with a frame are printed whole.
	whole := &remote.Table{Head: values["_columns"]}
	err = client.Hits(c.Context, values, most, func(hits []map[string]any) error {
		t, err := remote.HitTable(values["_columns"], hits)
		if err != nil {
			return err
		}
		whole.Rows = append(whole.Rows, t.Rows...)
		return nil
	})
	if err != nil {
		return err
	}
	return whole.Write(c.App.Writer, format, flags["headers"] == "true")
}

func superSearchFacet(c *cli.Context) error {
	if wantsHelp(c) {
		return cli.ShowCommandHelp(c, c.Command.Name)
	}
	flags, values, err := searchArgs(c, "start_date", "end_date", "relative_range", "leftover_count")
	if err != nil {
		return err
	}
	if !values.Has("date") {
		if err := facetDates(values, flags); err != nil {
			return command.AsUsage(err)
		}
	}
	if !values.Has("_facets") {
		values.Set("_facets", "_cardinality.uuid") // the default would be signature
	}
	values.Set("_results_number", "0")
	client := searchClient(c, flags["host"])
	if flags["format"] == "raw" {
		body, err := client.Raw(c.Context, values)
		if err == nil {
			_, err = c.App.Writer.Write(append(body, '\n'))
		}
		return err
	}
	format := flags["format"]
	if format == "" {
		format = "table"
	}
	if err := remote.CheckFormat(format); err != nil {
		return command.AsUsage(err)
	}
	answer, err := client.Ask(c.Context, values)
	if err != nil {
		return err
	}
	if values.Get("_facets") == "_cardinality.uuid" && len(answer.Facets) > 1 {
		delete(answer.Facets, "cardinality_uuid")
	}
	for i, t := range answer.Tables(flags["leftover_count"] == "true") {
		if i > 0 {
			fmt.Fprintln(c.App.Writer)
		}
		if err := t.Write(c.App.Writer, format, true); err != nil {
			return err
		}
	}
	for _, w := range answer.Warnings {
		fmt.Fprintln(c.App.ErrWriter, "warning:", w)
	}
	return nil
}

// facetDates turns days into the date parameter: by default the last week.
func facetDates(values url.Values, flags map[string]string) error {
	end := time.Now().UTC().AddDate(0, 0, 1)
	if d := flags["end_date"]; d != "" {
		t, err := time.Parse(time.DateOnly, d)
		if err != nil {
			return fmt.Errorf("--end-date %q is no YYYY-MM-DD", d)
		}
		end = t.AddDate(0, 0, 1)
	}
	start := end.AddDate(0, 0, -7)
	if r := flags["relative_range"]; r != "" {
		days := map[byte]int{'d': 1, 'w': 7}[r[len(r)-1]]
		n, err := strconv.Atoi(r[:len(r)-1])
		if days == 0 || err != nil || n < 1 {
			return fmt.Errorf("--relative-range %q is not such as 3d or 1w", r)
		}
		start = end.AddDate(0, 0, -n*days)
	}
	if d := flags["start_date"]; d != "" {
		t, err := time.Parse(time.DateOnly, d)
		if err != nil {
			return fmt.Errorf("--start-date %q is no YYYY-MM-DD", d)
		}
		start = t
	}
	values["date"] = []string{">=" + start.Format(time.DateOnly), "<" + end.Format(time.DateOnly)}
	return nil
}
