#!/usr/bin/env bash
# `make demo`: three nodes on loopback, from configs/demo. All hold the old release of an image; the hub gets the new
# one; edge-a pulls it from the hub, and edge-b, with the hub gone, from edge-a. Patches cross the wire, not layers. skopeo,
# if it is here, pulls the image through edge-b.
#   demo.sh LIGHTER [DIR]    LIGHTER: the program. DIR: a folder with two OCI layouts, old and new in the order of their names. Default: nginx.
set -euo pipefail
lighter=${1:?the program to demonstrate}
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/lighter-demo.XXXXXX")
declare -A pid id
stop() { [[ -n ${pid[$1]:-} ]] && kill "${pid[$1]}" 2>/dev/null && wait "${pid[$1]}" 2>/dev/null; unset "pid[$1]"; }
finish() { for node in "${!pid[@]}"; do stop "$node" || true; done; rm -rf "$work"; }
trap finish EXIT
say() { printf '\n== %s\n' "$*"; }
ask() { local node=$1; shift; "$lighter" --quiet --socket "$work/$node/admin.sock" "$@"; }

images=${2:-}
if [[ -z $images ]]; then
  images=$work/images
  mkdir "$images"
  zstd -q -d --long=27 -c "$root/tests/fixtures/nginx.tar.zst" | tar -x -C "$images"
fi
mapfile -t layouts < <(find "$images" -mindepth 2 -maxdepth 2 -name index.json -printf '%h\n' | sort -V)
((${#layouts[@]} == 2)) || { echo "demo: $images must have two OCI layouts; it has ${#layouts[@]}" >&2; exit 2; }
# A folder nginx-1.22.1-9 is demo/nginx:1.22.1-9.
name() { local base=${1##*/}; echo "demo/${base%%-*}:${base#*-}" | tr -c 'A-Za-z0-9_./:\n-' '-'; }
old=$(name "${layouts[0]}") new=$(name "${layouts[1]}")

say "Starting three nodes: hub, edge-a, edge-b"
cd "$work"
for node in hub edge-a edge-b; do
  id[$node]=$("$lighter" --quiet node init --dir "$node")
  echo "$node is ${id[$node]}"
done
members="[\"${id[hub]}\",\"${id[edge-a]}\",\"${id[edge-b]}\"]"
peers() { local list=() peer; for peer in "$@"; do
  list+=("\"/ip4/127.0.0.1/udp/$(grep -oP 'udp/\K[0-9]+' "$root/configs/demo/$peer.toml")/quic-v1/p2p/${id[$peer]}\""); done
  local IFS=,; echo "[${list[*]:-}]"; }
start() { local node=$1; shift
  "$lighter" node run --config "$root/configs/demo/$node.toml" --set "fleet.members=$members" \
    --set "fleet.publishers=[\"${id[hub]}\"]" --set "network.bootstrap=$(peers "$@")" &
  pid[$node]=$!
}
start hub
start edge-a hub
start edge-b hub edge-a
for node in hub edge-a edge-b; do
  for _ in {1..150}; do
    connected=$(ask "$node" --output json status 2>/dev/null | grep -oP '"peers_connected": \K[0-9]+' || true)
    [[ $connected == 2 ]] && break
    kill -0 "${pid[$node]}" 2>/dev/null || { echo "demo: $node did not start" >&2; exit 1; }
    sleep 0.1
  done
  [[ $connected == 2 ]] || { echo "demo: $node found ${connected:-no} of 2 peers" >&2; exit 1; }
done

say "Importing $old on all three, $new on the hub only"
for node in hub edge-a edge-b; do ask "$node" image import "${layouts[0]}" --name "$old" >/dev/null; done
ask hub image import "${layouts[1]}" --name "$new"

say "edge-a plans, and pulls $new from the hub"
ask edge-a plan "$new"
echo
ask edge-a image pull "$new"

say "The hub stops; edge-b pulls $new from edge-a"
stop hub
ask edge-b image pull "$new"

say "Exporting $new from edge-b and checking every digest"
ask edge-b image export "$new" "$work/exported" --plain
manifest=$(ask edge-b image show "$new")
for blob in "$work"/exported/blobs/sha256/*; do
  [[ $(sha256sum <"$blob") == "${blob##*/}  -" ]] || { echo "demo: $blob has the wrong sha256" >&2; exit 1; }
done
for layer in $(grep -oP '^layer +sha256:\K[0-9a-f]+' <<<"$manifest"); do
  [[ -f $work/exported/blobs/sha256/$layer ]] || { echo "demo: layer $layer is not in the export" >&2; exit 1; }
  echo "layer sha256:$layer: right"
done

if command -v skopeo >/dev/null; then
  say "skopeo pulls $new through edge-b, as container runtimes do"
  skopeo copy --quiet --src-tls-verify=false "docker://127.0.0.1:4482/$new" "dir:$work/pulled"
  expected=$(grep -oP '^manifest +\K\S+' <<<"$manifest")
  found=sha256:$(sha256sum <"$work/pulled/manifest.json" | cut -d' ' -f1)
  [[ $found == "$expected" ]] || { echo "demo: skopeo got the manifest $found, and not $expected" >&2; exit 1; }
  echo "manifest $found: right"
fi

say "What crossed edge-a's and edge-b's wires, every protocol counted"
for node in edge-a edge-b; do echo "$node:"; ask "$node" status | grep -A6 '^traffic'; done
