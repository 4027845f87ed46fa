// An application that asks the Workload API with go-spiffe, and prints what it was told as JSON.
package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

func ask(ctx context.Context) (map[string]any, error) {
	source, err := workloadapi.NewX509Source(ctx)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	svid, err := source.GetX509SVID()
	if err != nil {
		return nil, err
	}
	keys, err := workloadapi.NewJWTSource(ctx)
	if err != nil {
		return nil, err
	}
	defer keys.Close()
	token, err := keys.FetchJWTSVID(ctx, jwtsvid.Params{Audience: "pay"})
	if err != nil {
		return nil, err
	}
	// Once with the bundles that were fetched, once by the API itself.
	local, err := jwtsvid.ParseAndValidate(token.Marshal(), keys, []string{"pay"})
	if err != nil {
		return nil, err
	}
	remote, err := workloadapi.ValidateJWTSVID(ctx, token.Marshal(), "pay")
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"spiffe_id": svid.ID.String(), "chain": len(svid.Certificates),
		"token": local.ID.String(), "valid": remote.ID.String(),
	}, nil
}

func main() {
	ctx, stop := context.WithTimeout(context.Background(), 15*time.Second)
	defer stop()
	said, err := ask(ctx)
	if err != nil {
		said = map[string]any{"error": err.Error()}
	}
	json.NewEncoder(os.Stdout).Encode(said)
}
