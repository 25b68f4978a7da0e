"""Runs tuspy, unmodified: python3 tus.py ENDPOINT FILE [BYTES OF A CHUNK]. FILESHARE_USER is name:password.
With the last argument it only sends the file, with many retries, and tells of each chunk."""
import base64, hashlib, json, os, requests, sys, tempfile, time, urllib.request
from tusclient import client
from tusclient.exceptions import TusCommunicationError

endpoint, path = sys.argv[1:3]
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


if len(sys.argv) > 3:
    url, done = None, False
    while not done:
        try:
            # tuspy asks again by itself, but not where nobody listens.
            up = c.uploader(path, chunk_size=int(sys.argv[3]), metadata=metadata, url=url, retries=60, retry_delay=0.25)
            while up.offset < up.get_file_size():
                up.upload_chunk()
                url = up.url
                print("progress", up.offset, flush=True)
            done = True
        except requests.exceptions.ConnectionError:
            time.sleep(0.25)
    print(json.dumps({"sha256": get(up.url)}))
    sys.exit()


def refused(f):
    try:
        f()
        return 0
    except TusCommunicationError as e:
        return e.status_code


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

# A wrong offset, an upload that there is not, a file that is too large.
up = c.uploader(path, chunk_size=1 << 20)
up.upload_chunk()
up.offset = 5
out["wrong"] = refused(up.upload_chunk)
out["unknown"] = refused(lambda: c.uploader(path, url=endpoint + "88e5905d-5d96-4750-ab3d-77a1ed26f569"))
with tempfile.TemporaryFile() as large:
    large.truncate(1 << 40)
    out["large"] = refused(lambda: c.uploader(file_stream=large, chunk_size=1 << 20).upload_chunk())
print(json.dumps(out))
