package signature

type frameCache struct{}
