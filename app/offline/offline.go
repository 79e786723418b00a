// Package offline holds the commands that need no instance: they work on
// dumps and symbol files, and fetch symbols from servers where told to.
package offline
