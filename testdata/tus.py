"""Runs tuspy, unmodified: python3 tus.py ENDPOINT FILE. FILESHARE_USER is name:password."""
import base64, hashlib, json, os, sys, urllib.request
from tusclient import client
from tusclient.exceptions import TusCommunicationError

endpoint, path = sys.argv[1:]
auth = "Basic " + base64.b64encode(os.environ["FILESHARE_USER"].encode()).decode()
c = client.TusClient(endpoint, headers={"Authorization": auth})
metadata = {"filename": os.path.basename(path), "filetype": "application/x-test"}


def head(url):
    request = urllib.request.Request(url, method="HEAD", headers={"Tus-Resumable": "1.0.0", "Authorization": auth})
    return urllib.request.urlopen(request)


def get(url):
    answer = head(url)
    with urllib.request.urlopen(answer.headers["Upload-File"]) as f:
        return hashlib.sha256(f.read()).hexdigest()


out = {}
up = c.uploader(path, chunk_size=1 << 20, metadata=metadata)
up.upload()
out["whole"] = get(up.url)

# With a checksum for each part.
up = c.uploader(path, chunk_size=1 << 20, metadata=metadata, upload_checksum=True)
up.upload()
out["checksum"] = get(up.url)

# In two halves, the second by another client that knows the address only.
up = c.uploader(path, chunk_size=1 << 20, metadata=metadata)
up.upload(stop_at=2 << 20)
again = client.TusClient(endpoint, headers={"Authorization": auth}).uploader(path, chunk_size=1 << 20, url=up.url)
out["offset"] = again.offset
again.upload()
out["resumed"] = get(again.url)

# A wrong offset.
up = c.uploader(path, chunk_size=1 << 20)
up.upload_chunk()
up.offset = 5
try:
    up.upload_chunk()
    out["wrong"] = 0
except TusCommunicationError as e:
    out["wrong"] = e.status_code
print(json.dumps(out))
