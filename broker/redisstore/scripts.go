package redisstore

import (
	"context"
	"crypto/sha1" //nolint:gosec // how Redis names scripts
	_ "embed"     // the scripts
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// script is a step that must be atomic: its text and the name under which Redis keeps it.
type script struct{ text, sha string }

var (
	//go:embed lua/log.lua
	logText string
	//go:embed lua/append.lua
	appendText string
	//go:embed lua/refer.lua
	referText string
	//go:embed lua/insert.lua
	insertText string
	//go:embed lua/read.lua
	readText string
	//go:embed lua/claim.lua
	claimText string
	//go:embed lua/settle.lua
	settleText string
	//go:embed lua/write.lua
	writeText string
	//go:embed lua/empty.lua
	emptyText string
	//go:embed lua/remove.lua
	removeText string
	//go:embed lua/sweep.lua
	sweepText string
	//go:embed lua/past.lua
	pastText string
	//go:embed lua/trim.lua
	trimText string
	//go:embed lua/trimpast.lua
	trimPastText string
	//go:embed lua/mark.lua
	markText string
)

var (
	appendScript = newScript(logText + appendText)
	referScript  = newScript(logText + referText)
	insertScript = newScript(logText + insertText)
	readScript   = newScript(logText + readText)
	claimScript  = newScript(claimText)
	settleScript = newScript(settleText)
	writeScript  = newScript(writeText)
	emptyScript  = newScript(emptyText)
	removeScript = newScript(removeText)
	sweepScript  = newScript(sweepText)
	pastScript   = newScript(pastText)

	trimScript     = newScript(logText + trimText)
	trimPastScript = newScript(trimPastText)
	markScript     = newScript(markText)
)

var scripts = []script{appendScript, referScript, insertScript, readScript, claimScript, settleScript, writeScript, emptyScript, removeScript, sweepScript, pastScript,
	trimScript, trimPastScript, markScript}

func newScript(text string) script {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // how Redis names scripts
	return script{text, hex.EncodeToString(sum[:])}
}

// loadScripts gives a new connection's server the scripts, so that no pipeline meets one without them: a server forgets
// them when it restarts, and connections do not outlive it. A server that is still loading its data refuses DBSIZE: were
// a pipeline refused in its first part alone, what is behind would come before it.
func loadScripts(ctx context.Context, cn *redis.Conn) error {
	_, err := cn.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, s := range scripts {
			p.ScriptLoad(ctx, s.text)
		}
		p.DBSize(ctx)
		return nil
	})
	if err != nil {
		return fmt.Errorf("load scripts: %w", err)
	}
	return nil
}

// loadScriptsOnMaster is loadScripts for a client that has connections to Sentinels too, which know no scripts.
func loadScriptsOnMaster(ctx context.Context, cn *redis.Conn) error {
	info, err := cn.Info(ctx, "server").Result()
	switch {
	case err != nil:
		return fmt.Errorf("ask what the server is: %w", err)
	case strings.Contains(info, "redis_mode:sentinel"):
		return nil
	}
	return loadScripts(ctx, cn)
}
