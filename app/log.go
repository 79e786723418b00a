package app

import (
	"io"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"mayday/app/command"
	"mayday/app/config"
	"mayday/app/fault"
)

// newLog makes the one logger; everything gets it as a parameter. Fixed keys:
// role, crash_id, rule, module, kind, err, took.
func newLog(c config.Log, w io.Writer) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(c.Level)
	if err != nil {
		return nil, fault.As(fault.Invalid, err, "log.level")
	}
	format := c.Format
	if format == "auto" {
		format = "json"
		if command.Terminal(w) {
			format = "console"
		}
	}
	ec := zap.NewProductionEncoderConfig()
	ec.EncodeTime, ec.EncodeDuration, ec.TimeKey = zapcore.ISO8601TimeEncoder, zapcore.StringDurationEncoder, "time"
	enc := zapcore.NewJSONEncoder(ec)
	if format == "console" {
		ec.EncodeLevel = zapcore.CapitalColorLevelEncoder
		ec.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		enc = zapcore.NewConsoleEncoder(ec)
	}
	return zap.New(zapcore.NewCore(enc, zapcore.Lock(zapcore.AddSync(w)), level)), nil
}

// quietly is l without what is below a warning.
func quietly(l *zap.Logger) *zap.Logger {
	if !l.Core().Enabled(zap.InfoLevel) {
		return l // zap complains of a level that would fall
	}
	return l.WithOptions(zap.IncreaseLevel(zap.WarnLevel))
}
