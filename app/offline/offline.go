// Package offline holds the commands that need no instance: they work on
// dumps and symbol files, fetch symbols from servers where told to, and print
// the tables the program is built on.
package offline
