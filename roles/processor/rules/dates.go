package rules

import (
	"context"
	"time"

	"mayday/app/fault"
)

// dateLayout is how dates that the processor makes are written.
const dateLayout = "2006-01-02T15:04:05+00:00"

// FormatDate writes a time as processed crashes hold it.
func FormatDate(t time.Time) string { return t.UTC().Format(dateLayout) }

// epochDigits is how much of a time in seconds is read: some clients append
// fractions of a second without a point.
const epochDigits = 10

// latestEpoch is the last second whose year still has four digits.
const latestEpoch = 253402300799

// DatesAndTimes works out when the crash happened, how long the program had
// been running and how long it had been installed.
func DatesAndTimes(_ context.Context, _ *Env, c *Crash) error {
	text, ok := c.annotation("submitted_timestamp")
	if !ok {
		return missing("submitted_timestamp")
	}
	submitted, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return fault.New(fault.Invalid, "annotation submitted_timestamp is no date")
	}
	c.Processed["submitted_timestamp"], c.Processed["date_processed"] = text, text
	crash := c.crashTime(submitted.Unix())
	startup, ok := toInt64(c.Processed["startup_time"])
	if !ok || startup == 0 { // 0 is a client that does not know
		startup = crash
	}
	install := startup
	if v, ok := c.Raw["InstallTime"]; ok {
		n, fits, _ := parseInt(v)
		if !fits {
			c.Note(`non-integer value of "InstallTime"`)
		}
		install = n
		if !fits {
			install = 0
		}
	}
	c.Processed["crash_time"] = crash
	c.Processed["client_crash_date"] = FormatDate(time.Unix(min(max(crash, 0), latestEpoch), 0))
	c.Processed["install_age"] = crash - install
	c.Processed["uptime"] = max(0, crash-startup)
	c.Processed["last_crash"] = c.lastCrash()
	return nil
}

// crashTime reads when the client says it crashed.
func (c *Crash) crashTime(submitted int64) int64 {
	crash := submitted
	v, ok := c.Raw["CrashTime"]
	if !ok {
		c.Note("WARNING: raw_crash missing CrashTime")
	} else {
		text := asText(v)
		n, fits, _ := parseInt(text[:min(len(text), epochDigits)])
		if crash = n; !fits {
			crash = 0
			c.Note(`non-integer value of "CrashTime"`)
		}
	}
	if crash == submitted {
		c.Note("client_crash_date is unknown")
	}
	return crash
}

func (c *Crash) lastCrash() any {
	v, ok := c.Raw["SecondsSinceLastCrash"]
	if !ok {
		return nil
	}
	n, fits, big := parseInt(v)
	switch {
	case fits:
		return n
	case big:
		c.Note(`"SecondsSinceLastCrash" larger than MAXINT - set to NULL`)
	default:
		c.Note(`non-integer value of "SecondsSinceLastCrash"`)
	}
	return nil
}
