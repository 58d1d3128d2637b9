//! An S3-compatible object store, as far as blobs need one. Nothing secret lies there: blobs are
//! sealed, and their names say nothing.

use std::time::Duration;

use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::path::Path;
use object_store::{ClientOptions, Error, ObjectStoreExt as _, PutPayload, RetryConfig};
use sotto_protocol::BlobId;

use crate::config::Config;
use crate::store::BlobError;

/// What one request may take. Below the time for which Postgres lets a transaction wait.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
const RETRIES_MAX: usize = 2;

/// The object store cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
#[error("the object store cannot be used as configured ({0}); check the keys that begin with s3_")]
pub(crate) struct ObjectsError(String);

/// The bucket, and where in it blobs lie.
pub(crate) struct Objects {
    s3: AmazonS3,
    prefix: String,
}

impl Objects {
    /// `None` when no bucket is configured.
    pub(crate) fn open(config: &Config) -> Result<Option<Self>, ObjectsError> {
        let Some(bucket) = &config.s3_bucket else {
            return Ok(None);
        };
        let mut options = ClientOptions::new()
            .with_timeout(REQUEST_LIMIT)
            .with_connect_timeout(CONNECT_LIMIT);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(config.s3_region.as_deref().unwrap_or("us-east-1"));
        if let Some(endpoint) = &config.s3_endpoint {
            options = options.with_allow_http(endpoint.starts_with("http://"));
            builder = builder.with_endpoint(endpoint);
        }
        if let (Some(id), Some(secret)) = (&config.s3_access_key_id, &config.s3_secret_access_key) {
            builder = builder
                .with_access_key_id(id)
                .with_secret_access_key(secret);
        }
        let s3 = builder
            .with_client_options(options)
            .with_retry(RetryConfig {
                max_retries: RETRIES_MAX,
                retry_timeout: REQUEST_LIMIT,
                ..RetryConfig::default()
            })
            .build()
            .map_err(|error| ObjectsError(error.to_string()))?;
        Ok(Some(Self {
            s3,
            prefix: config.s3_prefix.clone().unwrap_or_default(),
        }))
    }

    fn path(&self, id: BlobId) -> Path {
        Path::from(format!("{}{id}", self.prefix))
    }

    /// Stores a blob that is small enough for one request.
    pub(super) async fn put(&self, id: BlobId, pieces: Vec<Bytes>) -> Result<(), BlobError> {
        let payload = PutPayload::from_iter(pieces);
        self.s3
            .put(&self.path(id), payload)
            .await
            .map(drop)
            .map_err(away)
    }

    /// Begins an upload in parts; returns its name.
    pub(super) async fn begin(&self, id: BlobId) -> Result<String, BlobError> {
        self.s3.create_multipart(&self.path(id)).await.map_err(away)
    }

    /// Stores a part, counted from 0; returns its name.
    pub(super) async fn put_part(
        &self,
        id: BlobId,
        upload: &str,
        part: u64,
        pieces: Vec<Bytes>,
    ) -> Result<String, BlobError> {
        let number = usize::try_from(part).map_err(|_| BlobError::Mismatch)?;
        let payload = PutPayload::from_iter(pieces);
        let part = self
            .s3
            .put_part(&self.path(id), &upload.to_owned(), number, payload)
            .await
            .map_err(away)?;
        Ok(part.content_id)
    }

    /// Ends an upload in parts. One that an earlier attempt ended unseen is as good.
    pub(super) async fn complete(
        &self,
        id: BlobId,
        upload: &str,
        parts: &[String],
        size: u64,
    ) -> Result<(), BlobError> {
        let parts = parts.iter().map(|name| PartId {
            content_id: name.clone(),
        });
        let path = self.path(id);
        let done = self
            .s3
            .complete_multipart(&path, &upload.to_owned(), parts.collect())
            .await;
        let Err(error) = done else { return Ok(()) };
        match self.s3.head(&path).await {
            Ok(found) if found.size == size => Ok(()),
            _ => Err(away(error)),
        }
    }

    /// Bytes of an object; `None` when it is not there.
    pub(super) async fn read(
        &self,
        id: BlobId,
        offset: u64,
        length: usize,
    ) -> Result<Option<Bytes>, BlobError> {
        let range = offset..offset.saturating_add(length as u64);
        match self.s3.get_range(&self.path(id), range).await {
            Ok(bytes) => Ok(Some(bytes).filter(|bytes| bytes.len() == length)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(away(error)),
        }
    }

    /// Deletes an object, and the upload that would make it.
    pub(super) async fn delete(&self, id: BlobId, upload: Option<&str>) -> Result<(), BlobError> {
        let path = self.path(id);
        if let Some(upload) = upload {
            // It may have ended, or been swept by the store itself.
            if let Err(error) = self.s3.abort_multipart(&path, &upload.to_owned()).await {
                tracing::debug!(kind = kind(&error), "upload not aborted");
            }
        }
        match self.s3.delete(&path).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(away(error)),
        }
    }
}

/// The object store's own words name blobs: they are for nobody's log.
fn away(error: Error) -> BlobError {
    tracing::warn!(kind = kind(&error), "the object store refused or is away");
    drop(error);
    BlobError::ObjectsAway
}

const fn kind(error: &Error) -> &'static str {
    match error {
        Error::NotFound { .. } => "not found",
        Error::PermissionDenied { .. } => "permission denied",
        Error::Unauthenticated { .. } => "not authenticated",
        Error::Precondition { .. } | Error::AlreadyExists { .. } => "conflict",
        _ => "failed or unreachable",
    }
}
