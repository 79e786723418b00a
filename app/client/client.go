// Package client holds the commands that talk to an instance over HTTP like
// any of its clients: submitting crashes, uploading symbols, searching. They
// open none of the instance's stores.
package client
