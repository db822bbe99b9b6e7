//! The methods of a store that is an [`Engine`](super::pool::Engine) over a pool: the same for each.

/// Those of `Store`. `$name`: a word for logs; `$max_data`: the most bytes that a row can hold.
macro_rules! store_methods {
    ($name:literal, $max_data:expr) => {
        async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
            pool::get(self, key).await
        }

        async fn set(&self, key: &StoreKey, record: &Record, when: When) -> Result<Written, StoreError> {
            fits(record, $max_data)?;
            pool::set(self, key, record, when).await
        }

        async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<bool, StoreError> {
            pool::touch(self, key, expires_at).await
        }

        async fn destroy(&self, key: &StoreKey) -> Result<(), StoreError> {
            pool::destroy(self, key).await
        }

        async fn rotate(
            &self,
            old: &StoreKey,
            when: When,
            new: &StoreKey,
            record: &Record,
        ) -> Result<Written, StoreError> {
            fits(record, $max_data)?;
            pool::rotate(self, old, when, new, record).await
        }

        fn name(&self) -> &'static str {
            $name
        }
    };
}

/// Those of `ByPrincipal`.
macro_rules! by_principal_methods {
    () => {
        async fn sessions_of(&self, owner: Owner<'_>) -> Result<Vec<Found>, StoreError> {
            pool::sessions_of(self, owner).await
        }

        async fn destroy_of(&self, owner: Owner<'_>, which: Which) -> Result<u64, StoreError> {
            pool::destroy_of(self, owner, which).await
        }
    };
}

/// Those of `Sweep`; the store has `hands` and `sweep`.
macro_rules! sweep_methods {
    () => {
        async fn sweep_batch(&self, batch: u32) -> Result<u64, StoreError> {
            self.sweep(batch).await
        }

        fn is_closed(&self) -> bool {
            self.hands.is_closed()
        }
    };
}

pub(in crate::store) use {by_principal_methods, store_methods, sweep_methods};
