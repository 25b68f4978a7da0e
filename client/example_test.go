package client_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"fileshare/api"
	"fileshare/client"
)

// A link that works once, for an hour.
func ExampleClient_UploadFile() {
	c, err := client.New(client.Options{URL: "https://files.example.com", User: "ann", Password: os.Getenv("PASSWORD")})
	if err != nil {
		log.Fatal(err)
	}
	f, err := c.UploadFile(context.Background(), "film.bin", client.UploadSpec{TTL: time.Hour, MaxDownloads: 1})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(f.URL)
}

// What is downloaded by link needs no account. Called again after a failure it
// goes on where it was.
func ExampleClient_DownloadFile() {
	c, err := client.New(client.Options{URL: "https://files.example.com"})
	if err != nil {
		log.Fatal(err)
	}
	d, err := c.DownloadFile(context.Background(), "https://files.example.com/uploads/88e5905d-5d96-4750-ab3d-77a1ed26f569", client.FileOptions{Parallel: 4})
	switch {
	case client.KindOf(err) == api.CodeUsed:
		log.Fatal("somebody was faster")
	case err != nil:
		log.Fatal(err)
	}
	fmt.Println(d.Path, d.Verified)
}

// All uploads with a tag; pages are fetched as the loop goes on.
func ExampleClient_Uploads() {
	c, err := client.New(client.Options{URL: "https://files.example.com", User: "ann", Password: os.Getenv("PASSWORD")})
	if err != nil {
		log.Fatal(err)
	}
	for f, err := range c.Uploads(context.Background(), client.Query{Tag: "red"}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(f.Name, f.Size, f.ExpiresAt)
	}
}

func ExampleParseLink() {
	base, ref, err := client.ParseLink("https://files.example.com/rtc/fileshare/uploads/88e5905d-5d96-4750-ab3d-77a1ed26f569")
	fmt.Println(base, ref.File, err)
	// Output: https://files.example.com/rtc/fileshare 88e5905d-5d96-4750-ab3d-77a1ed26f569 <nil>
}
