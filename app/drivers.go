package app

// The drivers of clouds register themselves by their URL schemes. They are
// named here alone: their SDKs are most of what the program takes to build.
import (
	_ "gocloud.dev/blob/gcsblob"     // gs://
	_ "gocloud.dev/blob/memblob"     // mem://
	_ "gocloud.dev/blob/s3blob"      // s3://
	_ "gocloud.dev/pubsub/awssnssqs" // awssqs://
	_ "gocloud.dev/pubsub/gcppubsub" // gcppubsub://
	_ "gocloud.dev/pubsub/mempubsub" // mem://
)
