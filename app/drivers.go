package app

// The drivers of clouds register themselves by their URL schemes. They are
// named here alone: their SDKs are most of what the program takes to build.
import (
	"context"

	"gocloud.dev/pubsub"

	_ "gocloud.dev/blob/gcsblob"     // gs://
	_ "gocloud.dev/blob/memblob"     // mem://
	_ "gocloud.dev/blob/s3blob"      // s3://
	_ "gocloud.dev/pubsub/awssnssqs" // awssqs://
	_ "gocloud.dev/pubsub/gcppubsub" // gcppubsub://

	"mayday/storage/queue"
)

// queueDrivers opens the queues of cloud services by URL.
func queueDrivers() *queue.Drivers {
	return &queue.Drivers{
		Topic: func(ctx context.Context, url string) (*pubsub.Topic, error) { return pubsub.OpenTopic(ctx, url) },
		Subscription: func(ctx context.Context, url string) (*pubsub.Subscription, error) {
			return pubsub.OpenSubscription(ctx, url)
		},
	}
}
