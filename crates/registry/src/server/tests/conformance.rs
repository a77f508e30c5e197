//! The pull part of the OCI distribution specification 1.1, requirement by requirement.
//!
//! Each test is named by its section, and quotes the requirement before it checks it. The endpoints are those of the
//! specification's table: end-1 (base), end-2 (blobs), end-3 (manifests), end-8a and end-8b (tags), end-12a and end-12b
//! (referrers). Pushing and deleting are answered as operations that the server does not support.

use super::*;

const REPOSITORY: &str = "/v2/demo/app";

/// The codes of the table in "Error Codes".
const CODES: [&str; 14] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
];

fn manifest_paths() -> [String; 2] {
    ["2".to_owned(), manifest_digest().to_string()].map(|reference| format!("{REPOSITORY}/manifests/{reference}"))
}

fn blob_path() -> String {
    format!("{REPOSITORY}/blobs/{}", blob_digest())
}

async fn tags_of(query: &str) -> (Vec<String>, Option<String>) {
    let (status, headers, body) = get(&format!("{REPOSITORY}/tags/list{query}")).await;
    assert_eq!((status, &headers["content-type"]), (StatusCode::OK, &"application/json".parse().unwrap()));
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["name"], "demo/app");
    let tags = body["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()).collect();
    (tags, headers.get("link").map(|link| link.to_str().unwrap().to_owned()))
}

/// "Determining Support": a `GET` of `/v2/` (end-1) answers 200.
#[tokio::test]
async fn determining_support() {
    assert_eq!(get("/v2/").await.0, StatusCode::OK);
}

/// "Pulling manifests": "A GET request to an existing manifest URL MUST provide the expected manifest, with a
/// response code that MUST be 200 OK"; "the Content-Type header will indicate the type of the returned manifest",
/// which "SHOULD NOT include parameters"; "A successful response MUST contain the digest of the uploaded blob in
/// the header Docker-Content-Digest"; "If the manifest is not found in the repository, the response code MUST be
/// 404 Not Found".
#[tokio::test]
async fn pulling_manifests() {
    for path in manifest_paths() {
        let (status, headers, body) = get(&path).await;
        assert_eq!((status, body.as_slice()), (StatusCode::OK, MANIFEST), "{path}");
        assert_eq!(headers["content-type"], MEDIA);
        assert_eq!(headers["docker-content-digest"], manifest_digest().to_string());
    }
    for path in ["/manifests/absent".to_owned(), format!("/manifests/{}", OciDigest::new([9; 32]))] {
        assert_eq!(get(&format!("{REPOSITORY}{path}")).await.0, StatusCode::NOT_FOUND);
    }
    // A tag has "at most 128 characters".
    for (tag, expected) in [("a".repeat(128), StatusCode::NOT_FOUND), ("a".repeat(129), StatusCode::BAD_REQUEST)] {
        assert_eq!(get(&format!("{REPOSITORY}/manifests/{tag}")).await.0, expected);
    }
}

/// "Pulling blobs": "A GET request to an existing blob URL MUST provide the expected blob, with a response code
/// that MUST be 200 OK. A successful response MUST contain the digest of the uploaded blob in the header
/// Docker-Content-Digest"; "If the blob is not found in the repository, the response code MUST be 404 Not Found".
#[tokio::test]
async fn pulling_blobs() {
    let (status, headers, body) = get(&blob_path()).await;
    assert_eq!((status, body.len()), (StatusCode::OK, content().len()));
    assert!(body == content());
    assert_eq!(headers["docker-content-digest"], blob_digest().to_string());
    let absent = format!("{REPOSITORY}/blobs/{}", OciDigest::new([9; 32]));
    assert_eq!(get(&absent).await.0, StatusCode::NOT_FOUND);
}

/// "Pulling blobs": "A registry SHOULD support the Range request header in accordance with RFC 9110": section 14.2
/// for a range, 15.3.7 for its answer, 15.5.17 for a range outside. A part has the digest of the whole.
#[tokio::test]
async fn pulling_blobs_in_ranges() {
    let (status, headers, body) = send(Method::GET, &blob_path(), &[("range", "bytes=100-199")]).await;
    assert_eq!(status, StatusCode::PARTIAL_CONTENT);
    assert!(body == content()[100..200]);
    assert_eq!(headers["content-range"], format!("bytes 100-199/{}", content().len()));
    assert_eq!(headers["content-length"], "100");
    assert_eq!(headers["docker-content-digest"], blob_digest().to_string());
    let (status, headers, _) = send(Method::GET, &blob_path(), &[("range", "bytes=9999999-")]).await;
    assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(headers["content-range"], format!("bytes */{}", content().len()));
}

/// "Checking if content exists in the registry": "A HEAD request to an existing blob or manifest URL MUST return
/// 200 OK"; it "MUST contain the digest ... in the header Docker-Content-Digest" and "the size in bytes ... in the
/// header Content-Length"; "If the blob or manifest is not found in the repository, the response code MUST be 404
/// Not Found".
#[tokio::test]
async fn checking_if_content_exists() {
    let [by_tag, by_digest] = manifest_paths();
    let manifest = (manifest_digest(), MANIFEST.len());
    for (path, (digest, bytes)) in
        [(by_tag, manifest), (by_digest, manifest), (blob_path(), (blob_digest(), content().len()))]
    {
        let (status, headers, body) = send(Method::HEAD, &path, &[]).await;
        assert_eq!((status, body.len()), (StatusCode::OK, 0), "{path}");
        assert_eq!(headers["docker-content-digest"], digest.to_string());
        assert_eq!(headers["content-length"], bytes.to_string());
    }
    for kind in ["manifests", "blobs"] {
        let absent = format!("{REPOSITORY}/{kind}/{}", OciDigest::new([9; 32]));
        let (_, of_get, _) = get(&absent).await;
        let (status, of_head, body) = send(Method::HEAD, &absent, &[]).await;
        assert_eq!((status, body.len()), (StatusCode::NOT_FOUND, 0));
        // RFC 9110, section 9.3.2: the headers are those of a GET.
        assert_eq!(of_head["content-length"], of_get["content-length"]);
    }
}

/// "Listing Tags" (end-8a): "this request MUST return a 200 OK response code"; "the tags MUST be in lexical ... or
/// ASCIIbetical order"; the body has `name` and `tags`.
#[tokio::test]
async fn listing_tags() {
    assert_eq!(tags_of("").await, (vec!["1".to_owned(), "2".to_owned(), "3".to_owned()], None));
    assert_eq!(get("/v2/other/tags/list").await.0, StatusCode::NOT_FOUND);
}

/// "Listing Tags" (end-8b): a list has `n` tags unless there are fewer; "When n is zero, this endpoint MUST return
/// an empty list, and MUST NOT include a Link header"; it begins "non-inclusively" behind `last`; a Link header is
/// "set according to RFC 5988 with the Relation Type rel="next"", and following it brings all tags, each once.
#[tokio::test]
async fn listing_tags_in_parts() {
    assert_eq!(tags_of("?n=0").await, (Vec::new(), None));
    assert_eq!(tags_of("?n=9").await.0.len(), 3);
    assert_eq!(tags_of("?last=1").await, (vec!["2".to_owned(), "3".to_owned()], None));
    assert_eq!(tags_of("?last=3").await, (Vec::new(), None));
    let (mut all, mut next) = (Vec::new(), Some("?n=1".to_owned()));
    while let Some(query) = next {
        let (tags, link) = tags_of(&query).await;
        assert_eq!(tags.len(), 1);
        all.extend(tags);
        next = link.map(|link| {
            let target = link.strip_suffix(">; rel=\"next\"").unwrap().strip_prefix('<').unwrap();
            target.strip_prefix(&format!("{REPOSITORY}/tags/list")).unwrap().to_owned()
        });
    }
    assert_eq!(all, ["1", "2", "3"]);
}

/// "Listing Referrers" (end-12a, end-12b): "this request MUST return a 200 OK"; "the response MUST be a JSON body
/// with an image index"; "The Content-Type header MUST be set to application/vnd.oci.image.index.v1+json"; "If the
/// request is invalid, such as a <digest> with an invalid syntax, a 400 Bad Request MUST be returned"; a filter
/// that was applied is named by OCI-Filters-Applied; "If a query results in no matching referrers, an empty
/// manifest list MUST be returned".
#[tokio::test]
async fn listing_referrers() {
    let path = format!("{REPOSITORY}/referrers/{}", manifest_digest());
    for (query, count) in [("", 2), ("?artifactType=a/b", 1), ("?artifactType=none", 0)] {
        let (status, headers, body) = get(&format!("{path}{query}")).await;
        assert_eq!((status, &headers["content-type"]), (StatusCode::OK, &INDEX.parse().unwrap()));
        let index: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&index["schemaVersion"], &index["mediaType"]), (&2.into(), &INDEX.into()));
        assert_eq!(index["manifests"].as_array().unwrap().len(), count, "{query}");
        assert_eq!(headers.contains_key("oci-filters-applied"), !query.is_empty());
    }
    assert_eq!(get(&format!("{REPOSITORY}/referrers/sha256:0")).await.0, StatusCode::BAD_REQUEST);
}

/// "Error Codes": a JSON body of a 4xx "MUST have the following format", a list of errors; "The code field MUST be
/// one of the following"; `message` "SHOULD be a human readable string".
#[tokio::test]
async fn error_codes() {
    let unknown = OciDigest::new([9; 32]);
    let range = ("range", "bytes=9999999-");
    for (method, path, header) in [
        (Method::GET, format!("{REPOSITORY}/manifests/absent"), None),
        (Method::GET, format!("{REPOSITORY}/manifests/.wrong"), None),
        (Method::GET, format!("{REPOSITORY}/manifests/sha256:0"), None),
        (Method::GET, format!("{REPOSITORY}/blobs/{unknown}"), None),
        (Method::GET, blob_path(), Some(range)),
        (Method::GET, "/v2/other/tags/list".to_owned(), None),
        (Method::GET, "/v2/UP/tags/list".to_owned(), None),
        (Method::GET, "/v2/_catalog".to_owned(), None),
        (Method::PUT, format!("{REPOSITORY}/manifests/1"), None),
        (Method::POST, format!("{REPOSITORY}/blobs/uploads/"), None),
        (Method::DELETE, blob_path(), None),
    ] {
        let (status, headers, body) = send(method, &path, &header.into_iter().collect::<Vec<_>>()).await;
        assert!(status.is_client_error(), "{path}: {status}");
        assert_eq!(headers["content-type"], "application/json");
        let body: Value = serde_json::from_slice(&body).unwrap();
        let error = &body["errors"][0];
        assert!(CODES.contains(&error["code"].as_str().unwrap()), "{path}: {error}");
        assert!(!error["message"].as_str().unwrap().is_empty());
    }
    for (refusal, status) in
        [(Refusal::Unauthorized, StatusCode::UNAUTHORIZED), (Refusal::Denied("a".to_owned()), StatusCode::FORBIDDEN)]
    {
        let response = refusal.into_response();
        assert_eq!(response.status(), status);
        let body = to_bytes(response.into_body(), 1 << 10).await.unwrap();
        assert!(CODES.contains(&code(&body).as_str()));
    }
}
