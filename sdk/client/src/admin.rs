//! The operator's and tenant's calls: tenants, agents' keys, entity types, API keys. Where the node holds the root key, it signs the
//! control events; who holds it elsewhere submits the signed event instead ([`Client::submit`]).

use tally_api::agent_key::{KeyChanged, RegisterKeyRequest, RevokeKeyRequest, RotateKeyRequest};
use tally_api::api_key::{ApiKeyCreated, ApiKeyInfo, ApiKeyList, CreateApiKey};
use tally_api::entity_types::{EntityTypes, EntityTypesChanged, SetEntityTypes};
use tally_api::tenant::{CreateTenant, Tenant};
use tally_protocol::id::Stream;

use crate::client::Client;
use crate::error::ClientError;
use crate::transport::{Request, segment};

impl Client {
    /// Creates a tenant. Not repeated unless it is certain that nothing was done.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn create_tenant(&self, tenant: &CreateTenant) -> Result<Tenant, ClientError> {
        self.shared.http.json(&Request::post_json("/v1/tenants", tenant)?.once()).await
    }

    /// Registers an agent's key. Not repeated unless it is certain that nothing was done.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn register_key(&self, request: &RegisterKeyRequest) -> Result<KeyChanged, ClientError> {
        self.shared.http.json(&Request::post_json("/api/v1/agents/keys", request)?.once()).await
    }

    /// Registers the successor of an agent's newest key. Not repeated unless it is certain that nothing was done.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn rotate_key(&self, request: &RotateKeyRequest) -> Result<KeyChanged, ClientError> {
        self.shared.http.json(&Request::post_json("/api/v1/agents/keys/rotate", request)?.once()).await
    }

    /// Revokes an agent's key; from the answer on nothing new is admitted under it. Repeated freely.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn revoke_key(&self, request: &RevokeKeyRequest) -> Result<KeyChanged, ClientError> {
        self.shared.http.json(&Request::post_json("/api/v1/agents/keys/revoke", request)?).await
    }

    /// Which entity types a store takes.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn entity_types(&self, store: Stream) -> Result<EntityTypes, ClientError> {
        self.shared.http.json(&Request::get(entity_types_path(store))).await
    }

    /// Sets the list of entity types that a store takes, the whole of it. Not repeated unless it is certain that nothing
    /// was done: somebody else may have set another one since.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn set_entity_types(
        &self,
        store: Stream,
        list: &SetEntityTypes,
    ) -> Result<EntityTypesChanged, ClientError> {
        self.shared.http.json(&Request::put_json(entity_types_path(store), list)?.once()).await
    }

    /// Lifts the list: the store takes every entity type. Not repeated unless it is certain that nothing was done.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn lift_entity_types(&self, store: Stream) -> Result<EntityTypesChanged, ClientError> {
        self.shared.http.json(&Request::delete(entity_types_path(store)).once()).await
    }

    /// Creates an API key, shown this once. Not repeated unless it is certain that nothing was done.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn create_api_key(&self, request: &CreateApiKey) -> Result<ApiKeyCreated, ClientError> {
        self.shared.http.json(&Request::post_json("/v1/api-keys", request)?.once()).await
    }

    /// Lists API keys, without the keys.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn api_keys(&self) -> Result<ApiKeyList, ClientError> {
        self.shared.http.json(&Request::get("/v1/api-keys")).await
    }

    /// Revokes an API key by its id.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn revoke_api_key(&self, id: &str) -> Result<ApiKeyInfo, ClientError> {
        self.shared.http.json(&Request::delete(format!("/v1/api-keys/{}", segment(id)))).await
    }
}

fn entity_types_path(store: Stream) -> String {
    format!("/v1/streams/{}/{}/entity-types", store.tenant, store.store)
}
